# Two commands do everything on a machine with Python 3.11 or newer, git and make:
#   make demo    the main job on a scene (SCENE=file.tif BUILDINGS=file.gpkg for your own)
#   make test    format, lint, types, architecture, tests
# The page of the service is written in TypeScript and built by Node 20 or newer:
#   make ui      builds it; without it the service runs and its page says so

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= demo

UI := api/ui
PAGE := $(UI)/dist/index.html
NPM := $(shell command -v npm)
# Tests write and flush many thousand small files, which memory does at once and a disk does not.
SCRATCH := $(shell [ "$$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -ge 8000000 ] 2>/dev/null && echo /dev/shm)

# Many tests wait for processes that they started, so that one more than there are cores pays.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1 )))

.PHONY: demo test check ui ui-test wheel-test clean
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
	$(if $(SCRATCH),TMPDIR=$(SCRATCH)) $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal --durations 20 --durations-min 5

ui: $(PAGE)

$(UI)/node_modules/.ready: $(UI)/package-lock.json
	npm --prefix $(UI) ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGE): $(UI)/node_modules/.ready $(UI)/index.html $(UI)/vite.config.ts $(wildcard $(UI)/public/*) $(shell find $(UI)/src -type f)
	npm --prefix $(UI) run --silent build

ui-test: $(UI)/node_modules/.ready
	npm --prefix $(UI) test --silent

# The wheel in an environment of its own, with its real dependencies, used from another folder.
wheel-test: $(if $(NPM),ui)
	rm -rf build/lib
	$(PYTHON) -m venv --clear build/wheel-env
	build/wheel-env/bin/python -m pip install --quiet --upgrade pip
	build/wheel-env/bin/python -m pip install --quiet .
	cd build/wheel-env && ./bin/damagenet demo --out wheel-demo --overwrite
	$(if $(NPM),cd build/wheel-env && ./bin/python -c 'import sys; from api.routes.page import is_built; sys.exit(not is_built())')

clean:
	rm -rf $(VENV) build $(UI)/node_modules $(UI)/dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
