"""An interruption changes neither the folders of scenes nor their order in the common table."""

from pathlib import Path

import pytest
from tiny_run import folder_bytes, make_bundle, make_scene

from damagenet.engine.batch import assess_scenes
from damagenet.engine.run_record import RunRecord, SceneRun, read_record
from damagenet.engine.scene_list import find_scenes, folder_names
from damagenet.errors import CancelledError
from damagenet.options import AssessOptions

TABLES = ("damage.csv", "damage.parquet")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 6)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return AssessOptions(model=str(folder), format="csv,parquet")


def folders(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.is_dir()}


# ---- folders


@pytest.mark.parametrize("stop_in", [1, 2, 3])
def test_scenes_of_one_name_keep_their_folders_over_an_interruption(tmp_path, options, stop_in):
    for number, name in enumerate(("d1/a", "d2/a", "d3/b")):
        make_scene(tmp_path / "in" / f"{name}.tif", seed=number)
    scenes = find_scenes([str(tmp_path / "in")])
    whole = assess_scenes(scenes, tmp_path / "whole", options)
    out, said = tmp_path / "cut", []

    def stop():
        return bool(said) and said[-1].number == stop_in and said[-1].scene.units_done > 6

    with pytest.raises(CancelledError):
        assess_scenes(scenes, out, options, progress=said.append, cancelled=stop)
    said.clear()
    assess_scenes(scenes, out, options, progress=said.append)
    assert next(one.scene.units_kept for one in said if one.number == stop_in) == 12
    assert folders(out) == folders(whole.out) == {"d1__a", "d2__a", "b"}
    assert folder_bytes(out, *TABLES) == folder_bytes(whole.out, *TABLES)


def test_known_scenes_are_still_compared_with_the_others():
    paths = [Path(f"/d/{name}/post.tif") for name in ("east", "north", "west")]
    fresh = folder_names(paths)
    for path in paths:
        assert folder_names(paths, {path: fresh[path]}) == fresh


def test_a_name_that_a_known_scene_holds_is_not_given_again():
    paths = [Path(f"/d/{name}.tif") for name in ("a", "b", "c")]
    names = folder_names(paths, {paths[0]: "B", Path("/elsewhere/c.tif"): "c"})
    assert names == {paths[0]: "B", paths[1]: "b-2", paths[2]: "c_tif"}
    again = folder_names(paths, {paths[0]: "B", paths[1]: "b-2", Path("/elsewhere/c.tif"): "c"})
    assert again == names


# ---- order


def test_a_scene_that_failed_at_first_stands_where_it_was_named(tmp_path, options):
    late, other = tmp_path / "late.tif", make_scene(tmp_path / "other.tif", seed=1)
    failed = assess_scenes([late, other], tmp_path / "out", options)
    assert failed.exit_code == 3
    make_scene(late)
    again = assess_scenes([late, other], tmp_path / "out", options)
    whole = assess_scenes([late, other], tmp_path / "whole", options)
    assert folder_bytes(again.out, *TABLES) == folder_bytes(whole.out, *TABLES)


@pytest.fixture(scope="module")
def record(tmp_path_factory, options):
    """Return what makes a record: of each run its status and scenes, failed ones in capitals."""
    folder = tmp_path_factory.mktemp("runs")
    assess_scenes([make_scene(folder / "a.tif", columns=1, rows=1)], folder / "out", options)
    (run,) = read_record(folder / "out").runs

    def scene(name: str) -> SceneRun:
        status = "failed" if name.isupper() else "ok"
        return SceneRun(path=Path(f"/d/{name.lower()}.tif"), folder=name.lower(), status=status)

    def make(*runs: tuple[str, str], on_error: str = "skip") -> RunRecord:
        given = run.options.model_copy(update={"on_error": on_error})
        made = [
            run.model_copy(
                update={
                    "status": status,
                    "options": given,
                    "scenes": tuple(scene(name) for name in names),
                }
            )
            for status, names in runs
        ]
        return RunRecord(runs=tuple(made))

    return make


@pytest.mark.parametrize(
    ("runs", "order"),
    [
        ([("finished", "abc")], "abc"),
        ([("interrupted", "b"), ("finished", "abc")], "abc"),
        ([("interrupted", "c"), ("interrupted", "bc"), ("finished", "abc")], "abc"),
        ([("finished", "x"), ("interrupted", "b"), ("finished", "abx")], "xab"),
        ([("finished", "ba"), ("finished", "abc")], "bac"),
        ([("interrupted", "b"), ("finished", "c")], "bc"),
        ([("finished", "Ab"), ("finished", "ab")], "ab"),
        ([("finished", "Ab")], "b"),
    ],
)
def test_scenes_stand_as_the_first_complete_run_was_given_them(record, runs, order):
    assert "".join(record(*runs).folders().values()) == order


def test_a_run_that_stopped_at_a_failure_is_not_complete(record):
    made = record(("finished", "Bc"), ("finished", "abc"), on_error="fail")
    assert "".join(made.folders().values()) == "abc"
