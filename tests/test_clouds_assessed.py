"""Units that cloud hides are obscured, and the others get the verdicts they had."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
from tiny_run import SIZE_PX, make_buildings, make_bundle, make_scene, pixel_box
from typer import Typer
from typer.testing import CliRunner

from damagenet.bundle import load_bundle
from damagenet.card import ChipGround
from damagenet.cli import inspect
from damagenet.engine.assess import assess_scene
from damagenet.engine.inputs import read_inputs
from damagenet.errors import OutputError
from damagenet.inference import Predictor
from damagenet.labels import Label, Reason
from damagenet.options import AssessOptions
from damagenet.outputs.summary import summarise
from data_prep.footprints import building_units, read_buildings
from data_prep.made_clouds import make_clouds
from data_prep.scene import Scene


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return Predictor(load_bundle(folder), device="cpu")


@pytest.fixture
def cloudy(tmp_path):
    """Return a scene of 4 x 2 cells whose two western columns lie under opaque cloud."""
    path = make_scene(tmp_path / "a.tif", columns=4, rows=2)
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        noise = np.random.default_rng(0).normal(0, 1.5, (3, 2 * SIZE_PX, 2 * SIZE_PX))
        pixels[:, :, : 2 * SIZE_PX] = 227 + noise
        file.write(pixels)
    return path


def assessed(path, out, predictor, **chosen):
    options = AssessOptions(**chosen)
    inputs = read_inputs(options)
    found = assess_scene(
        path,
        out,
        options,
        predictor,
        stem="a",
        buildings=inputs.buildings,
        exclusion=inputs.exclusion,
    )
    return found, pd.concat(list(found.parts()), ignore_index=True)


def test_cells_under_cloud_are_obscured_and_never_undamaged(tmp_path, cloudy, predictor):
    found, table = assessed(cloudy, tmp_path / "out", predictor)
    under = table["row"] % 4 < 2
    assert (table["label"][under] == Label.NOT_JUDGED).all()
    assert (table["reason"][under] == Reason.OBSCURED).all()
    assert (table["valid_fraction"][under] == 0).all()
    assert (table["label"][~under] != Label.NOT_JUDGED).all()
    assert found.counts.not_judged == {"obscured": 4}
    assert "were looked for" in summarise(found).clouds


def test_clouds_can_be_ignored_and_the_rest_stays_as_it_was(tmp_path, cloudy, predictor):
    _, checked = assessed(cloudy, tmp_path / "checked", predictor)
    found, table = assessed(cloudy, tmp_path / "ignored", predictor, clouds="ignore")
    assert (table["label"] != Label.NOT_JUDGED).all()
    assert "--clouds ignore" in summarise(found).clouds
    seen = checked["label"] != Label.NOT_JUDGED
    pd.testing.assert_frame_equal(table[seen], checked[seen])


def test_cloud_and_excluded_ground_are_not_counted_twice(tmp_path, cloudy, predictor):
    # The first column under the cloud, and a quarter of the third beside it.
    areas = [pixel_box(0, 0, 32, 64), pixel_box(64, 0, 8, 64)]
    exclude = make_buildings(tmp_path / "areas.gpkg", areas)
    _, table = assessed(cloudy, tmp_path / "out", predictor, exclude=exclude)
    assert table["valid_fraction"].tolist() == [0, 0, 0.75, 1] * 2


def test_another_way_with_clouds_is_another_result(tmp_path, cloudy, predictor):
    assessed(cloudy, tmp_path / "out", predictor)
    with pytest.raises(OutputError, match="made with another --clouds"):
        assessed(cloudy, tmp_path / "out", predictor, clouds="ignore")


def test_the_preflight_report_says_how_much_looks_hidden(tmp_path, cloudy):
    make_bundle(tmp_path / "bundle")
    app = Typer(pretty_exceptions_enable=False)
    app.command()(inspect.command)
    model = ["--model", str(tmp_path / "bundle")]
    text = CliRunner().invoke(app, [str(cloudy), *model]).stdout
    assert "about 50 % of the picture looks hidden by cloud" in text
    (report,) = json.loads(CliRunner().invoke(app, [str(cloudy), *model, "--json"]).stdout)
    assert report["hidden_share"] == pytest.approx(0.5)


# ---- on real scenes


@pytest.fixture
def flooded(harvey_data):
    """Return the xBD scene that has the most flood water."""
    return harvey_data / "xbd" / "hurricane-harvey_00000127_post_disaster.tif"


def test_no_real_building_under_opaque_cloud_gets_a_verdict(tmp_path, flooded):
    random = np.random.default_rng(8)
    with rasterio.open(flooded) as file:
        pixels, profile = file.read(), file.profile
    sky = make_clouds(random, pixels.shape[1:], cover=0.97, depth=12)
    path, buildings = tmp_path / "cloudy.tif", flooded.with_suffix(".geojson")
    with rasterio.open(path, "w", **profile) as file:
        file.write(sky.over(pixels, random))
    make_bundle(tmp_path / "bundle", chip=ChipGround())
    untrained = Predictor(load_bundle(tmp_path / "bundle"), device="cpu")
    _, table = assessed(path, tmp_path / "out", untrained, buildings=buildings)
    with Scene.open(path) as scene:
        units = building_units(read_buildings(buildings), scene, ChipGround())
    opaque = np.array([most_seen(sky.transmission, unit.windows) < 0.05 for unit in units])
    assert opaque.sum() > 20
    assert (table["label"][opaque] == Label.NOT_JUDGED).all()
    # Some lie at the edge of the picture.
    assert set(table["reason"][opaque]) == {Reason.OBSCURED, Reason.NO_IMAGERY}


def most_seen(transmission, windows):
    """Return the transmission that 95 of 100 pixels of windows are below."""
    parts = []
    for window in windows:
        rows = slice(max(0, int(window.row_off)), int(window.row_off + window.height))
        columns = slice(max(0, int(window.col_off)), int(window.col_off + window.width))
        parts.append(transmission[rows, columns].ravel())
    return np.quantile(np.concatenate(parts), 0.95)


def test_the_shipped_models_verdicts_in_the_open_stay(tmp_path, flooded):
    shipped = Predictor(load_bundle("harvey"), device="cpu")
    buildings = flooded.with_suffix(".geojson")
    checked, ignored = (
        assessed(flooded, tmp_path / way, shipped, buildings=buildings, clouds=way)[1]
        for way in ("check", "ignore")
    )
    told = ["unit_id", "label", "reason", "p_damaged", "p_min", "chips"]
    pd.testing.assert_frame_equal(checked[told], ignored[told])
    assert (checked["valid_fraction"] > ignored["valid_fraction"] - 0.2).all()
