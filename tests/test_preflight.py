"""The pre-flight report tells what a scene is and what assessing it would take."""

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasters import UTM, noise, write_raster
from tiny_run import make_bundle
from typer import Typer
from typer.testing import CliRunner

from damagenet.card import ChipGround
from damagenet.cli import inspect
from damagenet.errors import OutputError
from data_prep.footprints import building_units, read_buildings
from data_prep.preflight import inspect_scene
from data_prep.scene import Scene, SceneOptions
from data_prep.synthetic import make_scene

app = Typer(pretty_exceptions_enable=False)
app.command()(inspect.command)


def look(path, **options):
    return inspect_scene(path, SceneOptions(**options), ChipGround())


def test_a_good_scene_is_described(tmp_path):
    hole = np.ones((256, 300), bool)
    hole[:64] = False
    report = look(write_raster(tmp_path / "scene.tif", noise(256, 300), mask=hole))
    assert report.problem is None
    assert (report.width, report.height, report.crs) == (300, 256, "EPSG:32615")
    assert (report.rows, report.columns) == (2, 3)
    assert report.nodata_share == pytest.approx(0.25)
    assert report.chips == 5
    assert report.seconds == pytest.approx(5 / report.chips_per_s)
    assert report.pixel_m == pytest.approx(report.training_m, rel=0.01)
    assert not report.resampled
    assert report.acquired == ""


def test_a_cloud_optimized_geotiff_is_told_from_a_plain_one(tmp_path):
    cog = write_raster(tmp_path / "cog.tif", noise(600, 600), driver="COG")
    plain = write_raster(tmp_path / "plain.tif", noise(600, 600))
    assert look(cog).cog
    assert look(cog).overviews
    assert not look(plain).cog
    assert "tiled" in look(plain).cog_faults[0]


def test_a_scene_that_is_all_nodata_has_a_problem(tmp_path):
    path = write_raster(tmp_path / "scene.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    assert "holds no valid pixel" in look(path).problem


def test_a_coarse_scene_is_described_and_has_a_problem_unless_forced(tmp_path):
    coarse = Affine(10, 0, UTM.c, 0, -10, UTM.f)
    path = write_raster(tmp_path / "scene.tif", noise(64, 64), transform=coarse)
    report = look(path)
    assert "too coarse to see a building (limit 3 m)" in report.problem
    assert report.width == 64
    assert look(path, force_coarse=True).problem is None


def test_a_file_that_cannot_be_opened_has_a_problem_and_no_figures(tmp_path):
    (tmp_path / "scene.tif").touch()
    report = look(tmp_path / "scene.tif")
    assert "is empty" in report.problem
    assert report.pixel_m is None


def test_the_command_prints_text_and_exits_1_when_a_scene_cannot_be_assessed(tmp_path):
    good = write_raster(tmp_path / "good.tif", noise(200, 200))
    result = CliRunner().invoke(app, [str(good)])
    assert result.exit_code == 0
    assert "pixels are used as they are" in result.stdout
    assert "=> can be assessed" in result.stdout
    bad = write_raster(tmp_path / "bad.tif", noise(20, 20, bands=1))
    result = CliRunner().invoke(app, [str(good), str(bad)])
    assert result.exit_code == 1
    assert "=> PROBLEM: scene has 1 band, model needs 3" in result.stdout
    assert CliRunner().invoke(app, [str(bad), "--bands", "1,1,1"]).exit_code == 0


def test_the_command_writes_json(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(200, 200))
    (report,) = json.loads(CliRunner().invoke(app, [str(path), "--json"]).stdout)
    assert report["path"] == str(path)
    assert report["problem"] is None
    assert report["bands"] == [1, 2, 3]


def test_the_command_takes_folders_and_names_what_is_not_there(tmp_path):
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, noise(200, 200))
    reports = json.loads(CliRunner().invoke(app, [str(tmp_path), "--json"]).stdout)
    assert [Path(report["path"]).name for report in reports] == ["a.tif", "b.tif"]
    refused = CliRunner().invoke(app, [str(tmp_path / "none.tif")])
    assert refused.exit_code == 1
    assert "no scene at" in str(refused.exception)


def test_a_map_of_the_world_is_too_coarse_rather_than_too_large(tmp_path):
    wide = Affine(78_000, 0, -20_000_000, 0, -78_000, 15_000_000)
    path = write_raster(tmp_path / "world.tif", noise(380, 500), transform=wide, crs="EPSG:3857")
    assert "too coarse to see a building" in look(path).problem


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--bands", "1,2"], "name three bands"), (["--pixel-size", "0"], "greater than 0")],
)
def test_wrong_options_are_refused(tmp_path, arguments, message):
    result = CliRunner().invoke(app, [str(tmp_path / "x.tif"), *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_the_model_says_what_pixel_is_compared(tmp_path):
    make_bundle(tmp_path / "bundle")
    path = write_raster(tmp_path / "scene.tif", noise(64, 64))
    arguments = [str(path), "--json", "--model", str(tmp_path / "bundle")]
    (report,) = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert report["training_m"] == [1.0, 1.0]
    assert report["resampled"]


@pytest.mark.parametrize("folder", ["encodings", "broken", "rasterio"])
def test_every_odd_raster_at_hand_gets_a_report(harvey_data, folder):
    paths = sorted((harvey_data / "edge_rasters" / folder).iterdir())
    reports = {path.name: look(path) for path in paths}
    assert len(reports) == len(paths)
    refused = {name[:2] for name, report in reports.items() if report.problem}
    if folder == "encodings":
        assert refused == {"11", "13", "14"}
    if folder == "broken":
        assert refused == {"90", "91", "92"}


def test_a_made_scene_is_the_same_each_time_and_partly_flooded(tmp_path):
    first, second = (make_scene(tmp_path / name / "made.tif", seed=3) for name in "ab")
    assert first.scene.read_bytes() == second.scene.read_bytes()
    assert 0.2 < first.flooded / first.count < 0.8
    buildings = read_buildings(first.buildings)
    assert len(buildings.frame) == first.count
    assert buildings.frame["flooded"].sum() == first.flooded
    with Scene.open(first.scene) as scene:
        assert scene.acquired == "2017-08-31T17:38:50"
        assert len(buildings.touching(scene).frame) == first.count
        units = building_units(buildings, scene, ChipGround())
        images = scene.read_chips([unit.windows[0] for unit in units], size_px=128).images[0]
    # Brown water has more red than green, grass has less.
    redder = (images[:, 0].mean((1, 2)) - images[:, 1].mean((1, 2))) > 0
    assert (redder == buildings.frame["flooded"].to_numpy()).mean() > 0.8


def test_a_made_scene_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the made scene"):
        make_scene(tmp_path / "file" / "made.tif", size_px=128)
