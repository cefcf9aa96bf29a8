"""`DIR/damage.*` holds what belongs together, says what does not, and goes when nothing is left."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from tiny_run import folder_bytes, make_buildings, make_scene, pixel_box

from damagenet.engine.batch import assess_scenes

TABLES = ("damage.csv", "damage.parquet")


@pytest.fixture
def scenes(tmp_path):
    return [
        make_scene(tmp_path / f"{name}.tif", columns=2, rows=2, seed=number)
        for number, name in enumerate("ab")
    ]


def spoil(scene: Path) -> None:
    """Make a scene one that is opened and has no ground."""
    make_scene(scene, columns=2, rows=2, hole=(slice(None), slice(None)))


def test_scenes_with_ids_of_another_column_are_left_out_and_named(tmp_path, options, scenes):
    path = make_buildings(tmp_path / "b.gpkg", [pixel_box(9, 9, 8, 8), pixel_box(30, 30, 8, 8)])
    frame = gpd.read_file(path).assign(other=["b1", "b0"])
    frame.to_file(path)
    out = tmp_path / "out"
    assess_scenes(scenes[:1], out, options(buildings=path, id_field="uid"))
    result = assess_scenes(scenes[1:], out, options(buildings=path, id_field="other"))
    table = pd.read_csv(out / "damage.csv")
    assert table["unit_id"].tolist() == ["b1", "b0"]
    assert table["scenes"].tolist() == ["b", "b"]
    assert "damage.* leaves out a: they were assessed with another --id-field" in result.warnings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"threshold": 0.25}, "--threshold: not given, 0.25"),
        ({"prior": 0.25}, "--prior: not given, 0.25"),
        ({"min_valid": 0.75}, "--min-valid: 0.5, 0.75"),
        ({"clouds": "ignore"}, "--clouds: check, ignore"),
    ],
)
def test_verdicts_of_different_meaning_in_one_table_are_said(
    tmp_path, options, scenes, given, words
):
    first = assess_scenes(scenes[:1], tmp_path / "out", options())
    result = assess_scenes(scenes[1:], tmp_path / "out", options(**given))
    assert not first.warnings
    assert result.warnings == (f"damage.* holds verdicts with different {words}",)
    assert len(pd.read_csv(tmp_path / "out" / "damage.csv")) == 8


def test_when_no_scene_is_left_the_common_table_goes(tmp_path, options, scenes):
    out = tmp_path / "out"
    assess_scenes(scenes[:1], out, options())
    spoil(scenes[0])
    failed = assess_scenes(scenes[:1], out, options(overwrite=True))
    assert failed.exit_code == 1
    assert not list(out.glob("damage.*"))
    assert failed.warnings == ("damage.* was removed: no scene of it is left",)


def test_the_common_table_stays_while_its_scenes_stand(tmp_path, options, scenes):
    out = tmp_path / "out"
    assess_scenes(scenes[:1], out, options())
    before = folder_bytes(out, *TABLES)
    buildings = make_buildings(tmp_path / "b.gpkg", [pixel_box(9, 9, 8, 8)])
    assert assess_scenes(scenes[:1], out, options(buildings=buildings)).exit_code == 1
    assert folder_bytes(out, *TABLES) == before


def test_a_table_that_no_run_wrote_is_not_removed(tmp_path, options, scenes):
    mine = tmp_path / "out" / "damage.csv"
    mine.parent.mkdir()
    mine.write_text("my own\n")
    spoil(scenes[0])
    assert assess_scenes(scenes[:1], mine.parent, options()).exit_code == 1
    assert mine.read_text() == "my own\n"


def test_a_scene_whose_results_were_just_removed_is_told_as_that(tmp_path, options, scenes):
    out = tmp_path / "out"
    assess_scenes(scenes, out, options())
    spoil(scenes[0])
    result = assess_scenes(scenes, out, options(overwrite=True))
    assert result.exit_code == 3
    assert result.warnings == ("damage.* leaves out a: their results were removed",)
    assert set(pd.read_csv(out / "damage.csv")["scenes"]) == {"b"}


def test_a_map_that_is_no_longer_common_is_said_to_be_old(tmp_path, options, scenes):
    out = tmp_path / "out"
    assess_scenes(scenes[:1], out, options())
    pixels = make_scene(tmp_path / "c.tif", columns=2, rows=2, crs=None)
    result = assess_scenes([pixels], out, options(pixel_size=1.0))
    (told,) = [one for one in result.warnings if "no common map was written" in one]
    assert told.endswith("; damage.* is that of an earlier run")
