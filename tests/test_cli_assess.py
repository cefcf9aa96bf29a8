"""`damagenet assess` as a person calls it."""

import json
import logging
import sys

import pytest
from tiny_run import make_buildings, make_bundle, make_scene, pixel_box

from damagenet.cli import main
from damagenet.config import make_settings
from damagenet.options import AssessOptions

NAME_TOO_LONG = "a" * 300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder, non_commercial=True)
    return folder


@pytest.fixture
def damagenet(monkeypatch, capfd, bundle):
    """Run `damagenet assess` in this process: exit code, stdout, stderr."""

    def run(*arguments, model=True):
        given = ["--model", str(bundle)] if model else []
        line = ["damagenet", "assess", *map(str, arguments), *given]
        monkeypatch.setattr(sys, "argv", line)
        monkeypatch.setenv("COLUMNS", "300")
        handlers = logging.getLogger().handlers[:]
        try:
            main.run()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            logging.getLogger().handlers[:] = handlers
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_a_scene_with_buildings_becomes_files_and_a_summary(tmp_path, damagenet):
    scene = make_scene(tmp_path / "a.tif", columns=4, rows=3)
    buildings = make_buildings(tmp_path / "b.gpkg", [pixel_box(20, 20, 8, 8)])
    out = tmp_path / "out"
    code, stdout, stderr = damagenet(
        scene, "--buildings", buildings, "--out", out, "--format", "gpkg,csv,cog"
    )
    assert (code, stdout) == (0, "")
    assert {path.name for path in (out / "a").iterdir()} >= {
        "damage.gpkg",
        "damage.csv",
        "damage.tif",
        "summary.json",
    }
    assert "Ranking only, not a count" in stderr
    assert "Of 100 intact buildings seen after a storm this model flags 65 (60 to 70)" in stderr
    assert "a: 1 buildings:" in stderr
    assert "Non-commercial use only: model toy is licensed CC BY-NC-SA 4.0." in stderr
    assert "--acquired" in stderr


def test_json_is_all_that_stdout_carries(tmp_path, damagenet):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    code, stdout, _ = damagenet(scene, "--out", tmp_path / "out", "--json", "--format", "csv")
    told = json.loads(stdout)
    assert (code, told["exit_code"]) == (0, 0)
    assert told["run"]["scenes"][0]["counts"]["units"] == 4
    assert told["merged"] == [str(tmp_path / "out" / "damage.csv")]


def test_quiet_says_nothing(tmp_path, damagenet):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    result = damagenet(scene, "--out", tmp_path / "out", "--quiet", "--format", "csv")
    assert result == (0, "", "")


def test_some_failures_end_in_3_and_are_named(tmp_path, damagenet):
    make_scene(tmp_path / "in" / "good.tif", columns=2, rows=2)
    (tmp_path / "in" / "bad.tif").write_bytes(b"no raster")
    code, _, stderr = damagenet(tmp_path / "in", "--out", tmp_path / "out", "--format", "csv")
    assert code == 3
    assert "bad.tif failed: " in stderr
    assert "1 of 2 scenes failed: see " in stderr
    assert (tmp_path / "out" / "failures.csv").exists()


@pytest.mark.parametrize("name", ["bad.tif", "nowhere.tif"])
def test_a_single_bad_scene_ends_in_1_with_one_sentence(tmp_path, damagenet, name):
    (tmp_path / "bad.tif").write_bytes(b"no raster")
    code, stdout, stderr = damagenet(tmp_path / name, "--out", tmp_path / "out")
    assert (code, stdout) == (1, "")
    assert name in stderr
    assert "Traceback" not in stderr


def test_wrong_usage_ends_in_2_before_anything_is_read(tmp_path, damagenet):
    code, stdout, stderr = damagenet("none.tif", "--out", tmp_path / "out", "--format", "xls")
    assert (code, stdout) == (2, "")
    assert "'gpkg', 'geojson', 'parquet', 'csv', 'cog' or 'html', got 'xls'" in stderr


def test_an_unknown_model_ends_in_1_and_makes_no_folder(tmp_path, damagenet):
    scene = make_scene(tmp_path / "a.tif", columns=1, rows=1)
    code, _, stderr = damagenet(scene, "--out", tmp_path / "out", "--model", "no-such", model=False)
    assert code == 1
    # No bar was drawn, so that none has to end in an empty line.
    assert stderr.startswith("damagenet: no model 'no-such'")
    assert not (tmp_path / "out").exists()


def test_interrupting_says_how_to_go_on(tmp_path, damagenet, monkeypatch):
    from damagenet.inference import Predictor

    def interrupted(self, images):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "logits_and_distances", interrupted)
    scene = make_scene(tmp_path / "a.tif", columns=1, rows=1)
    code, _, stderr = damagenet(scene, "--out", tmp_path / "out", "--format", "csv")
    assert code == 130
    assert "run the same command again to continue" in stderr


def test_interrupting_while_scenes_are_found_says_so_too(tmp_path, damagenet, monkeypatch):
    from damagenet.engine import scene_list

    def interrupted(named, asset):
        raise KeyboardInterrupt

    monkeypatch.setattr(scene_list, "find_with_items", interrupted)
    code, _, stderr = damagenet(tmp_path, "--out", tmp_path / "out")
    assert code == 130
    assert stderr == "damagenet: interrupted; run the same command again to continue\n"


def test_options_of_a_file_are_taken(tmp_path, damagenet):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    file = tmp_path / "options.yaml"
    file.write_text("format: [csv, parquet]\nstride: 16\n")
    code, stdout, _ = damagenet(scene, "--out", tmp_path / "out", "--options", file, "--json")
    assert code == 0
    assert json.loads(stdout)["run"]["scenes"][0]["counts"]["units"] == 16
    assert (tmp_path / "out" / "damage.parquet").exists()


def test_run_json_holds_the_options_whole_and_they_read_back_equal(tmp_path, damagenet):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    damagenet(scene, "--out", tmp_path / "out", "--format", "csv", "--min-valid", "0.25")
    told = json.loads((tmp_path / "out" / "run.json").read_text())["runs"][-1]["options"]
    assert set(told) == set(AssessOptions.model_fields)
    options = make_settings(AssessOptions, told)
    assert (options.format, options.min_valid) == (("csv",), 0.25)
    assert options.model_dump(mode="json") == told


@pytest.mark.parametrize(
    "option", ["SCENE", "--out", "--buildings", "--exclude", "--pre", "--model"]
)
def test_a_name_that_no_disk_takes_is_refused_in_a_sentence(tmp_path, damagenet, option):
    scene = make_scene(tmp_path / "a.tif", columns=1, rows=1)
    named = {"SCENE": scene, "--out": tmp_path / "out"}
    named[option] = tmp_path / f"{NAME_TOO_LONG}.tif"
    rest = [each for name, path in named.items() if name != "SCENE" for each in (name, path)]
    code, _, stderr = damagenet(named["SCENE"], *rest, model=option != "--model")
    assert code == 1
    assert "Traceback" not in stderr
    assert NAME_TOO_LONG in stderr
    assert not (tmp_path / "out" / "a" / "damage.csv").exists()
