"""An interrupted run continues where it stopped, and nobody can tell."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from tiny_run import folder_bytes, make_buildings, make_bundle, make_scene, pixel_box

from damagenet.engine.batch import assess_scenes
from damagenet.engine.run_record import read_record
from damagenet.errors import CancelledError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions

FORMATS = ("gpkg", "geojson", "parquet", "csv", "cog")
SAME_BYTES = ("damage.geojson", "damage.parquet", "damage.csv")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 6)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return folder


@pytest.fixture
def scene(tmp_path):
    hole = (slice(0, 70), slice(0, 40))
    return make_scene(tmp_path / "a.tif", columns=6, rows=5, hole=hole)


@pytest.fixture
def options(tmp_path, bundle):
    def make(**changes):
        return AssessOptions(**({"model": str(bundle), "format": FORMATS} | changes))

    return make


def many_buildings(folder):
    shapes = [pixel_box(7 * n % 180, 11 * n % 150, 6 + n % 40, 7) for n in range(25)]
    return make_buildings(folder / "b.gpkg", shapes)


def same_results(first: Path, second: Path):
    assert folder_bytes(first, *SAME_BYTES) == folder_bytes(second, *SAME_BYTES)
    tables = [gpd.read_file(folder / "damage.gpkg", layer="damage") for folder in (first, second)]
    pd.testing.assert_frame_equal(*tables)


def same_pixels(first: Path, second: Path):
    rasters = []
    for folder in (first, second):
        with rasterio.open(folder / "damage.tif") as raster:
            rasters.append((raster.read(), raster.read_masks()))
    for one, other in zip(*rasters, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["cell", "building"])
@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_an_interrupted_run_ends_in_the_same_files(tmp_path, scene, options, kind, stop_after):
    given = {"buildings": many_buildings(tmp_path)} if kind == "building" else {}
    whole = assess_scenes([scene], tmp_path / "whole", options(**given))
    assert whole.exit_code == 0

    said = []
    with pytest.raises(CancelledError):
        assess_scenes(
            [scene],
            tmp_path / "cut",
            options(**given),
            progress=said.append,
            cancelled=lambda: len(said) > stop_after,
        )
    assert not (tmp_path / "cut" / "a" / "damage.csv").exists()
    said.clear()
    assess_scenes([scene], tmp_path / "cut", options(**given), progress=said.append)
    assert said[0].scene.units_kept == said[0].scene.units_done
    assert (said[0].scene.units_kept > 0) == (stop_after > 0)

    same_results(tmp_path / "whole" / "a", tmp_path / "cut" / "a")
    same_pixels(tmp_path / "whole" / "a", tmp_path / "cut" / "a")
    same_results(tmp_path / "whole", tmp_path / "cut")
    runs = read_record(tmp_path / "cut").runs
    assert [run.status for run in runs] == ["interrupted", "finished"]


def test_ctrl_c_keeps_the_parts_that_are_finished(tmp_path, scene, options, monkeypatch):
    look, calls = Predictor.logits_and_distances, []

    def interrupted(self, images):
        calls.append(images)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return look(self, images)

    monkeypatch.setattr(Predictor, "logits_and_distances", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assess_scenes([scene], tmp_path / "out", options())
    parts = tmp_path / "out" / "a" / "parts"
    assert len(list(parts.glob("part-*.parquet"))) == 2
    assert read_record(tmp_path / "out").runs[0].status == "interrupted"


def test_a_finished_scene_is_not_judged_again(tmp_path, scene, options, monkeypatch):
    assess_scenes([scene], tmp_path / "out", options())
    before = folder_bytes(tmp_path / "out" / "a", *SAME_BYTES)
    monkeypatch.setattr(Predictor, "logits_and_distances", None)
    again = assess_scenes([scene], tmp_path / "out", options(format="csv"))
    assert again.exit_code == 0
    assert folder_bytes(tmp_path / "out" / "a", *SAME_BYTES) == before


def test_without_resume_everything_is_judged_again(tmp_path, scene, options):
    assess_scenes([scene], tmp_path / "out", options())
    said = []
    again = assess_scenes([scene], tmp_path / "out", options(resume=False), progress=said.append)
    assert again.exit_code == 0
    assert said[0].scene.units_kept == 0


def test_other_options_for_the_same_scene_need_overwrite(tmp_path, scene, options):
    out = tmp_path / "out"
    assess_scenes([scene], out, options())
    before = folder_bytes(out / "a", *SAME_BYTES)
    refused = assess_scenes([scene], out, options(min_valid=0.9, threshold=0.2))
    assert refused.exit_code == 1
    sentence = refused.failures[0].sentence
    assert "made with another --min-valid, --threshold" in sentence
    assert "--overwrite" in sentence
    assert folder_bytes(out / "a", *SAME_BYTES) == before
    replaced = assess_scenes([scene], out, options(min_valid=0.9, overwrite=True))
    assert replaced.exit_code == 0
    assert folder_bytes(out / "a", *SAME_BYTES) != before


def test_another_model_or_another_scene_is_named_in_the_refusal(tmp_path, scene, options):
    out = tmp_path / "out"
    assess_scenes([scene], out, options())
    make_bundle(tmp_path / "other", seed=1)
    other = assess_scenes([scene], out, options(model=str(tmp_path / "other")))
    assert "made with another model:" in other.failures[0].sentence
    make_scene(scene, columns=6, rows=5, seed=9)
    changed = assess_scenes([scene], out, options())
    assert "made with another scene:" in changed.failures[0].sentence


def test_strange_files_in_the_way_are_not_overwritten(tmp_path, scene, options):
    mine = tmp_path / "out" / "a" / "damage.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own\n")
    refused = assess_scenes([scene], tmp_path / "out", options())
    assert "holds damage.csv, which no assessment here explains" in refused.failures[0].sentence
    assert mine.read_text() == "my own\n"
    assert assess_scenes([scene], tmp_path / "out", options(overwrite=True)).exit_code == 0


def test_batches_of_any_size_give_the_same_verdicts(tmp_path, scene, options):
    tables = []
    for size in (1, 5, 64):
        result = assess_scenes([scene], tmp_path / str(size), options(batch_size=size))
        tables.append(pd.concat(list(result.assessments[0].parts()), ignore_index=True))
    for table in tables[1:]:
        assert (table["label"] == tables[0]["label"]).all()
        assert table["p_damaged"].sub(tables[0]["p_damaged"]).abs().max() < 1e-5


def test_lost_parts_are_made_again(tmp_path, scene, options):
    out = tmp_path / "out"
    assess_scenes([scene], out, options())
    before = folder_bytes(out / "a", *SAME_BYTES)
    (out / "a" / "parts" / "part-000003.parquet").unlink()
    (out / "a" / "damage.csv").unlink()
    assert assess_scenes([scene], out, options()).exit_code == 0
    assert folder_bytes(out / "a", *SAME_BYTES) == before
