"""Cloud, thick haze and blown-out pixels are found; roofs, water and what is not there are not."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import SIZE_PX, make_bundle, make_scene
from typer import Typer
from typer.testing import CliRunner

from damagenet.bundle import load_bundle
from damagenet.card import ChipGround
from damagenet.cli import inspect
from damagenet.engine.assess import assess_scene
from damagenet.errors import OutputError
from damagenet.inference import Predictor
from damagenet.labels import Label, Reason
from damagenet.options import AssessOptions
from damagenet.outputs.summary import summarise
from data_prep.clouds import seen_ground
from data_prep.footprints import building_units, read_buildings
from data_prep.made_clouds import MadeSky, expose, make_clouds
from data_prep.scene import Scene
from data_prep.synthetic import make_scene as make_demo_scene
from data_prep.windows import Grid

SIDE_PX = 128
FLOOD_WATER = (188, 170, 132)
"""Pale, even and bright: the most cloud-like that the Houston scenes hold."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Return chips of a made scene, uint8 (16, 3, 128, 128), half of it under brown water."""
    path = tmp_path_factory.mktemp("made") / "scene.tif"
    make_demo_scene(path, size_px=512)
    with Scene.open(path) as scene:
        pixels, _ = scene.picture(512)
    return pixels.reshape(3, 4, 128, 4, 128).transpose(1, 3, 0, 2, 4).reshape(16, 3, 128, 128)


def plain(*colours, side=SIDE_PX):
    """Return chips of one colour each with a sensor's noise."""
    noise = np.random.default_rng(0).normal(0, 1.5, (len(colours), 3, side, side))
    return np.clip(np.array(colours)[:, :, None, None] + noise, 0, 255).astype(np.uint8)


def hidden_share(image, valid=None):
    """Return the share of each chip's valid pixels that is hidden."""
    valid = np.ones(image[:, 0].shape, bool) if valid is None else valid
    return 1 - seen_ground(image, valid).mean(axis=(1, 2)) / valid.mean(axis=(1, 2))


def veiled(image, transmission, brightness=225):
    veil = np.full(image.shape[1:], brightness, np.float32)
    shape = image.shape[-2:]
    sky = MadeSky(
        transmission=np.full(shape, transmission, np.float32),
        veil=veil,
        light=np.ones(shape, np.float32),
        noise=1.5,
    )
    return np.stack([sky.over(one, np.random.default_rng(3)) for one in image])


def test_ground_in_the_open_is_seen_and_nothing_is_copied(ground):
    valid = np.ones(ground[:, 0].shape, bool)
    assert hidden_share(ground).max() == 0
    assert seen_ground(ground, valid) is valid


@pytest.mark.parametrize("colour", [(0, 0, 0), FLOOD_WATER, (165, 148, 112), (90, 90, 90)])
def test_even_ground_that_is_dark_or_brown_is_seen(colour):
    assert hidden_share(plain(colour)).tolist() == [0]


@pytest.mark.parametrize("colour", [(255, 255, 255), (215, 218, 222), (190, 190, 190)])
def test_what_is_bright_grey_and_even_is_hidden(colour):
    assert hidden_share(plain(colour)).tolist() == [1]


def test_a_pale_roof_hides_no_more_than_itself(ground):
    roofed = ground.copy()
    roofed[:, :, 40:72, 40:80] = plain((205, 203, 200))[0][:, 40:72, 40:80]
    assert hidden_share(roofed).max() <= 32 * 40 / SIDE_PX**2


def test_thick_cloud_hides_everything_and_a_thin_veil_nothing(ground):
    assert hidden_share(veiled(ground, 0.03)).min() == 1
    assert hidden_share(veiled(ground, 0.1)).min() > 0.9
    assert hidden_share(veiled(ground, 0.8)).max() < 0.05


def test_only_the_clouded_side_of_a_chip_is_hidden(ground):
    image = ground.copy()
    image[..., :64] = veiled(ground, 0.02)[..., :64]
    valid = np.ones(image[:, 0].shape, bool)
    seen = seen_ground(image, valid)
    assert not seen[..., :64].any()
    assert seen[..., 64:].all()


def test_pixels_with_two_of_three_bands_clipped_are_hidden():
    yellow, orange = plain((255, 255, 60), (255, 170, 60))[:, None]
    yellow[:, :2] = orange[:, 0] = 255
    assert hidden_share(yellow).tolist() == [1]
    assert hidden_share(orange).tolist() == [0]


@settings(max_examples=25, deadline=None)
@given(st.floats(1, 5), st.floats(1, 5))
def test_longer_exposure_never_brings_ground_back(ground, one, other):
    short, long = sorted((one, other))
    clipped = [(expose(ground, gain) == 255).all(axis=1) for gain in (short, long)]
    assert (clipped[1] | ~clipped[0]).all()
    # Blocks that lose their colour only in part may be called either way.
    assert (hidden_share(expose(ground, long)) >= hidden_share(expose(ground, short)) - 0.1).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(200, 250))
def test_a_thicker_veil_never_hides_less(ground, one, other, brightness):
    thin, thick = max(one, other), min(one, other)
    less, more = (hidden_share(veiled(ground[:4], t, brightness)) for t in (thin, thick))
    assert (more >= less - 0.05).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 127), st.integers(0, 255), st.booleans())
def test_what_is_not_valid_is_ignored(ground, edge, filling, clouded):
    image = veiled(ground[:2], 0.05) if clouded else ground[:2].copy()
    valid = np.ones(image[:, 0].shape, bool)
    valid[:, :edge] = False
    whole = seen_ground(image, np.ones_like(valid))
    image[:, :, :edge] = filling
    seen = seen_ground(image, valid)
    assert not seen[:, :edge].any()
    inner = -(-edge // 16) * 16
    np.testing.assert_array_equal(seen[:, inner:], whole[:, inner:])


@pytest.mark.parametrize("side", [8, 20, 100])
def test_chips_of_any_side_are_looked_at(side):
    image = plain((220, 220, 220), (60, 80, 50), side=side)
    assert hidden_share(image).tolist() == [1, 0]


# ---- in an assessment


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return Predictor(load_bundle(folder), device="cpu")


@pytest.fixture
def cloudy(tmp_path):
    """Return a scene of 4 x 2 cells whose two western columns lie under opaque cloud."""
    import rasterio

    path = make_scene(tmp_path / "a.tif", columns=4, rows=2)
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[:, :, : 2 * SIZE_PX] = plain((225, 228, 230))[0][:, : 2 * SIZE_PX, : 2 * SIZE_PX]
        file.write(pixels)
    return path


def assessed(path, out, predictor, **options):
    found = assess_scene(path, out, AssessOptions(**options), predictor, stem="a")
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
    from tiny_run import make_buildings, pixel_box

    from damagenet.engine.inputs import read_inputs

    # A quarter of the third column beside the cloud, and all of the first below it.
    areas = [pixel_box(0, 0, 32, 64), pixel_box(64, 0, 8, 64)]
    options = AssessOptions(exclude=make_buildings(tmp_path / "areas.gpkg", areas))
    exclusion = read_inputs(options).exclusion
    found = assess_scene(
        cloudy, tmp_path / "out", options, predictor, stem="a", exclusion=exclusion
    )
    table = pd.concat(list(found.parts()), ignore_index=True)
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


def real_shares(picture, buildings=None):
    """Return the share of valid pixels that looks hidden around each building, or in each cell."""
    with Scene.open(picture) as scene:
        if buildings is None:
            grid = Grid.over(scene, ChipGround())
            units = [unit for piece in grid.pieces() for unit in grid.units(piece)]
        else:
            units = building_units(read_buildings(buildings).touching(scene), scene, ChipGround())
        windows = [window for unit in units for window in unit.windows]
        chips = scene.read_chips(windows, size_px=SIDE_PX)
    shown = chips.valid.any(axis=(1, 2))
    return hidden_share(chips.images[0][shown], chips.valid[shown])


@pytest.mark.parametrize("place", ["00000011_post", "00000127_post", "00000127_pre"])
def test_real_buildings_in_the_open_are_not_obscured(harvey_data, place):
    picture = harvey_data / "xbd" / f"hurricane-harvey_{place}_disaster.tif"
    shares = real_shares(picture, picture.with_suffix(".geojson"))
    assert (shares > 0.5).mean() <= 0.01
    assert shares.mean() < 0.05


def test_flooded_ground_is_seen_in_every_encoding(harvey_data):
    pictures = sorted((harvey_data / "edge_rasters" / "encodings").glob("0*.tif"))
    assert len(pictures) == 10
    for picture in pictures:
        assert real_shares(picture).max() <= 0.5, picture.name


def test_no_real_building_under_opaque_cloud_gets_a_verdict(tmp_path, harvey_data):
    import rasterio

    source = harvey_data / "xbd" / "hurricane-harvey_00000127_post_disaster.tif"
    random = np.random.default_rng(8)
    with rasterio.open(source) as file:
        pixels, profile = file.read(), file.profile
    sky = make_clouds(random, pixels.shape[1:], cover=0.97, depth=12)
    path = tmp_path / "cloudy.tif"
    with rasterio.open(path, "w", **profile) as file:
        file.write(sky.over(pixels, random))
    make_bundle(tmp_path / "bundle", chip=ChipGround())
    options = AssessOptions(buildings=source.with_suffix(".geojson"))
    found = assess_scene(
        path,
        tmp_path / "out",
        options,
        Predictor(load_bundle(tmp_path / "bundle"), device="cpu"),
        stem="cloudy",
        buildings=read_buildings(options.buildings),
    )
    table = pd.concat(list(found.parts()), ignore_index=True)
    with Scene.open(source) as scene:
        units = building_units(read_buildings(options.buildings), scene, ChipGround())
    through = [_through(sky, unit.windows) for unit in units]
    opaque = np.array(through) < 0.05
    assert opaque.sum() > 20
    assert (table["label"][opaque] == Label.NOT_JUDGED).all()
    # Some lie at the edge of the picture.
    assert set(table["reason"][opaque]) == {Reason.OBSCURED, Reason.NO_IMAGERY}


def _through(sky, windows):
    """Return the largest transmission over windows, in percentiles: 95 of 100 pixels are below."""
    parts = []
    for window in windows:
        rows = slice(max(0, int(window.row_off)), int(window.row_off + window.height))
        columns = slice(max(0, int(window.col_off)), int(window.col_off + window.width))
        parts.append(sky.transmission[rows, columns].ravel())
    return float(np.quantile(np.concatenate(parts), 0.95))


def test_the_shipped_models_verdicts_in_the_open_stay(tmp_path, harvey_data):
    source = harvey_data / "xbd" / "hurricane-harvey_00000127_post_disaster.tif"
    buildings = source.with_suffix(".geojson")
    shipped = Predictor(load_bundle("harvey"), device="cpu")
    checked, ignored = (
        pd.concat(
            list(
                assess_scene(
                    source,
                    tmp_path / way,
                    AssessOptions(buildings=buildings, clouds=way),
                    shipped,
                    stem="a",
                    buildings=read_buildings(buildings),
                ).parts()
            )
        )
        for way in ("check", "ignore")
    )
    told = ["unit_id", "label", "reason", "p_damaged", "p_min", "chips"]
    pd.testing.assert_frame_equal(checked[told], ignored[told])
    assert (checked["valid_fraction"] > ignored["valid_fraction"] - 0.2).all()
