# Two commands do everything on a machine with Python 3.11 or newer, git and make:
#   make demo    the main job on a scene (SCENE=file.tif BUILDINGS=file.gpkg for your own)
#   make test    format, lint, types, architecture, tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= demo

.PHONY: demo test check wheel-test clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "damagenet needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/damagenet demo --out $(OUT) $(if $(SCENE),--scene '$(SCENE)') $(if $(BUILDINGS),--buildings '$(BUILDINGS)')

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# The wheel in an environment of its own, with its real dependencies, used from another folder.
wheel-test:
	$(PYTHON) -m venv --clear build/wheel-env
	build/wheel-env/bin/python -m pip install --quiet --upgrade pip
	build/wheel-env/bin/python -m pip install --quiet .
	cd build/wheel-env && ./bin/damagenet demo --out wheel-demo --overwrite

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
