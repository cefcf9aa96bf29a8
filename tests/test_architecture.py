"""The arrows of the house, read from the imports of every file."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("damagenet", "data_prep", "models", "api")
VOCABULARY = {
    f"damagenet.{name}"
    for name in (
        "addresses",
        "errors",
        "labels",
        "config",
        "recipe",
        "options",
        "records",
        "card",
        "assessment",
    )
} | {"damagenet"}
HEAVY = {
    *("torch", "torchvision", "lightning", "rasterio", "geopandas", "pandas", "albumentations"),
    *("fastapi", "uvicorn", "sqlalchemy"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.py"))
    if "node_modules" not in path.parts
}


@cache
def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if not top_level_only else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in FILES} or {node.module}
    return found


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in ROOMS}


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith(("models", "data_prep"))])
def test_workshops_import_only_their_room_and_the_vocabulary(name):
    room = name.split(".")[0]
    strangers = {other for other in ours(FILES[name]) if other.split(".")[0] != room}
    assert strangers <= VOCABULARY


@pytest.mark.parametrize("name", sorted(VOCABULARY))
def test_vocabulary_imports_only_itself_and_nothing_heavy(name):
    assert ours(FILES[name]) <= VOCABULARY
    loaded = {other.split(".")[0] for other in imports(FILES[name], top_level_only=True)}
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("data_prep")])
def test_torch_stays_out_of_data_prep_but_for_datasets(name):
    if name != "data_prep.datasets":
        assert "torch" not in {other.split(".")[0] for other in imports(FILES[name])}


# Inside damagenet/, a file may import files of its own floor and of those below it.
FLOORS = (
    VOCABULARY,
    {
        f"damagenet.{name}"
        for name in (
            "bundle",
            "bundle_writing",
            "calibration",
            "confidence",
            "devices",
            "inference",
            "rules",
            "runtimes",
            "strangeness",
        )
    },
    {"damagenet.outputs"},
    {"damagenet.engine", "damagenet.cluster", "damagenet.training"},
    {
        f"damagenet.{name}"
        for name in ("evaluation", "study", "totals", "adapt", "explain", "transfer", "export")
    },
    {"damagenet.cli"},
)


def floor(name: str) -> int:
    parent = name if name in VOCABULARY else ".".join(name.split(".")[:2])
    return next(number for number, rooms in enumerate(FLOORS) if parent in rooms)


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("damagenet")])
def test_every_file_of_damagenet_stands_on_the_floors_below_it(name):
    below = {other for other in ours(FILES[name]) if other.startswith("damagenet")}
    assert {other for other in below if floor(other) > floor(name)} == set()


def test_training_and_assessing_do_not_know_each_other():
    rooms = ("damagenet.engine", "damagenet.training")
    for name in (n for n in FILES if n.startswith(rooms)):
        (stranger,) = (room for room in rooms if not name.startswith(room))
        assert not {other for other in ours(FILES[name]) if other.startswith(stranger)}


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("damagenet.cluster")])
def test_one_room_alone_knows_ray(name):
    assert "ray" not in {other.split(".")[0] for other in imports(FILES[name])}


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("damagenet.cli")])
def test_nothing_but_the_command_line_imports_the_command_line(name):
    assert not {other for other in ours(FILES[name]) if other.startswith("damagenet.cli")}


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("api")])
def test_only_the_command_line_may_start_the_service(name):
    if not name.startswith("damagenet.cli"):
        assert not {other for other in ours(FILES[name]) if other.split(".")[0] == "api"}


def test_no_two_files_import_each_other_even_over_others():
    graph = {name: ours(path) - {name} for name, path in FILES.items()}
    cycle = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        cycle = err.args[1]
    assert not cycle, f"import cycle: {' -> '.join(cycle)}"


def test_no_file_is_called_by_a_word_that_says_nothing():
    empty_words = {"utils", "helpers", "common", "base", "manager"}
    assert not {name for name in FILES if name.rsplit(".", maxsplit=1)[-1] in empty_words}


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("damagenet.cli.main", HEAVY),
        ("api.worker", {"torch", "rasterio", "geopandas"}),
        # Networks run in the processes that it starts.
        ("api.serve", {"torch", "lightning", "albumentations", "scipy.stats"}),
    ],
)
def test_what_starts_often_loads_nothing_heavy(name, heavy):
    code = f"import sys, {name}\nprint(*sorted(set({sorted(heavy)!r}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""
