"""Scenes that contradict each other on a building: counted, named, shown, never averaged."""

import json
import re

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from tiny_run import (
    EAST,
    NORTH,
    SIZE_PX,
    make_buildings,
    make_divided_bundle,
    make_scene,
    pixel_box,
)
from typer.testing import CliRunner

from damagenet.cli.assess_summary import summary_lines
from damagenet.cli.main import app
from damagenet.engine.batch import assess_scenes
from damagenet.engine.disagreement import LISTED
from damagenet.engine.run_record import read_record
from damagenet.options import AssessOptions
from damagenet.outputs.compared import BEGIN, END


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two scenes of one place that differ, a third of another, and 30 buildings."""
    folder = tmp_path_factory.mktemp("place")
    make_scene(folder / "first.tif")
    make_scene(folder / "second.tif", seed=5)
    make_scene(folder / "east.tif", seed=7, columns=3, origin=(EAST + 10_000, NORTH))
    make_divided_bundle(folder / "bundle", folder / "first.tif")
    cells = [(n % 6, n // 6) for n in range(30)]
    houses = [pixel_box(c * SIZE_PX + 10, r * SIZE_PX + 12, 11, 8) for c, r in cells]
    make_buildings(folder / "houses.gpkg", [*houses, pixel_box(10_010, 12, 11, 8)])
    return folder


@pytest.fixture
def run(place, tmp_path):
    def assess(*names, formats="csv,html", **changes):
        values = {"model": str(place / "bundle"), "buildings": place / "houses.gpkg"}
        options = AssessOptions(**(values | {"format": formats, "device": "cpu"} | changes))
        return assess_scenes([place / name for name in names], tmp_path / "run", options)

    return assess


def firm(folder, stem):
    table = pd.read_csv(folder / stem / "damage.csv").set_index("unit_id")["label"]
    return table[table.isin(["damaged", "undamaged"])]


def contradicted(folder, one, other):
    """Return ids that two scenes call differently, and how many both call something."""
    both = pd.concat([firm(folder, one), firm(folder, other)], axis=1, join="inner")
    return both.index[both.iloc[:, 0] != both.iloc[:, 1]].tolist(), len(both)


def shown(folder, stem):
    page = (folder / stem / "report.html").read_text()
    return page.split(BEGIN)[1].split(END)[0]


def test_contradictions_are_counted_in_every_place(run):
    result = run("first.tif", "second.tif", "east.tif")
    ids, shared = contradicted(result.out, "first", "second")
    assert 3 < len(ids) < shared < 31
    merged = pd.read_csv(result.out / "damage.csv").set_index("unit_id")
    assert sorted(merged.index[merged["disagree"]]) == sorted(ids)
    said = f"{len(ids)} of {shared} buildings that several scenes show are called damaged by one"
    assert sum(line.startswith(said) for line in summary_lines(result)) == 1
    for record in (read_record(result.out).runs[-1], result.run):
        assert (record.shared, record.disagree) == (shared, len(ids))
    assert json.loads(result.as_json())["run"]["disagree"] == len(ids)
    for stem in ("first", "second"):
        compared = json.loads((result.out / stem / "summary.json").read_text())["compared"]
        assert compared == {"shared": shared, "disagree": len(ids), "listed": ids}
        section = shown(result.out, stem)
        assert f"contradict each other on {len(ids)} of {shared} buildings" in section
        assert all(re.search(rf"\b{uid}\b", section) for uid in ids)
    assert json.loads((result.out / "east" / "summary.json").read_text())["compared"] is None
    assert shown(result.out, "east") == ""


def test_each_scene_keeps_its_own_verdict_and_none_is_a_mean(run):
    result = run("first.tif", "second.tif")
    ids, _ = contradicted(result.out, "first", "second")
    merged = pd.read_csv(result.out / "damage.csv").set_index("unit_id")["p_damaged"]
    own = [
        pd.read_csv(result.out / stem / "damage.csv").set_index("unit_id")["p_damaged"]
        for stem in ("first", "second")
    ]
    assert merged[ids].equals(own[0][ids])
    assert (np.abs(own[0][ids] - own[1][ids]) > 0.01).all()


def test_scenes_that_agree_are_said_to(run):
    # Everything is damaged from a threshold of 0 on.
    result = run("first.tif", "second.tif", threshold=0)
    assert any(
        "all 30 buildings that several scenes show are called the same" in w
        for w in result.warnings
    )
    assert "Scenes agree on all 30 buildings" in shown(result.out, "first")


def test_one_scene_says_nothing_of_others(run):
    result = run("first.tif")
    assert (result.run.shared, result.run.disagree) == (0, 0)
    assert not [line for line in summary_lines(result) if "several scenes" in line]
    assert shown(result.out, "first") == ""


def test_a_scene_that_is_added_later_changes_the_report_of_the_first(run):
    run("first.tif")
    result = run("second.tif")
    ids, shared = contradicted(result.out, "first", "second")
    assert f"on {len(ids)} of {shared} buildings" in shown(result.out, "first")
    before = (result.out / "first" / "report.html").read_bytes()
    assert run("second.tif").run.disagree == len(ids)
    assert (result.out / "first" / "report.html").read_bytes() == before


def test_a_report_of_an_earlier_damagenet_is_named_and_left_alone(run):
    first = run("first.tif")
    page = first.out / "first" / "report.html"
    page.write_text("<html>an old report</html>")
    result = run("second.tif")
    assert page.read_text() == "<html>an old report</html>"
    assert any("report.html has no place for other scenes" in text for text in result.warnings)


def test_only_so_many_ids_are_listed(place, tmp_path, run):
    houses = [pixel_box(10 + 6 * (n % 25), 10 + 8 * (n // 25), 5, 5) for n in range(350)]
    make_buildings(tmp_path / "many.gpkg", houses)
    result = run("first.tif", "second.tif", buildings=tmp_path / "many.gpkg")
    ids, _ = contradicted(result.out, "first", "second")
    assert len(ids) > LISTED
    assert f"The first {LISTED} of them" in shown(result.out, "second")
    summary = json.loads((result.out / "second" / "summary.json").read_text())
    assert summary["compared"]["listed"] == ids[:LISTED]


def test_ids_cannot_break_out_of_the_page(place, tmp_path, run):
    frame = gpd.read_file(place / "houses.gpkg")
    frame["uid"] = [f"<script>alert({n})</script>" for n in range(len(frame))]
    frame.to_file(tmp_path / "evil.gpkg")
    result = run("first.tif", "second.tif", buildings=tmp_path / "evil.gpkg")
    assert result.run.disagree
    assert "<script>" not in shown(result.out, "first")


def test_cells_of_two_scenes_are_different_units(run):
    result = run("first.tif", "second.tif", buildings=None)
    assert (result.run.shared, result.run.disagree) == (None, None)
    assert shown(result.out, "first") == ""


def test_before_and_after_the_storm_contradict_each_other_on_a_real_scene(harvey_data, tmp_path):
    stem = "hurricane-harvey_00000011"
    scenes = [harvey_data / "xbd" / f"{stem}_{when}_disaster.tif" for when in ("post", "pre")]
    command = ["assess", *map(str, scenes), "--out", str(tmp_path), "--format", "csv,html"]
    command += ["--buildings", str(scenes[0].with_suffix(".geojson")), "--device", "cpu"]
    # The bundle that leans on the date contradicts itself most.
    command += ["--model", "harvey"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    ids, shared = contradicted(tmp_path, scenes[0].stem, scenes[1].stem)
    assert 0 < len(ids) < shared
    assert f"{len(ids)} of {shared} buildings that several scenes show are called" in told.output
    assert f"on {len(ids)} of {shared} buildings" in shown(tmp_path, scenes[1].stem)
