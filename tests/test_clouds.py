"""Cloud, thick haze and blown-out pixels are found; roofs, water and what is not there are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damagenet.card import ChipGround
from data_prep.clouds import seen_ground
from data_prep.footprints import building_units, read_buildings
from data_prep.made_clouds import MadeSky, expose
from data_prep.scene import Scene
from data_prep.synthetic import make_scene
from data_prep.windows import Grid

SIDE_PX = 128
FLOOD_WATER = (188, 170, 132)
"""Pale, even and bright: the most cloud-like that the Houston scenes hold."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Return chips of a made scene, uint8 (16, 3, 128, 128), half of it under brown water."""
    path = tmp_path_factory.mktemp("made") / "scene.tif"
    make_scene(path, size_px=512)
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
