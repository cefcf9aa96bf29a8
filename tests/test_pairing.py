"""Chips of two pictures show the same ground, however the earlier picture was made."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.windows import Window
from rasters import noise, write_raster

from damagenet.assessment import Shift
from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.alignment import estimate_shift
from data_prep.overlap import find_overlap
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene, SceneOptions
from data_prep.windows import chip_size

UTM = "EPSG:32615"
TRAINING = Affine(0.4347, 0, 244_000, 0, -0.4977, 3_303_600)
OTHER = Affine(0.6, 0, 244_000, 0, -0.6, 3_303_600)
OPTIONS = SceneOptions()
SIDE = 500


def colour(x, y):
    """Return the colour of a place in UTM: waves of 25 to 40 m, uint8 (3, ...)."""
    bands = [
        np.sin(x / 4.1 + band) + np.cos(y / 5.3 - band) + np.sin((x + y) / 6) for band in (0, 1, 2)
    ]
    return np.clip(np.rint(np.stack(bands) * 35 + 128), 1, 255).astype(np.uint8)


def places(transform, crs, width, height):
    """Return the coordinates in UTM of the pixels' centres of a grid."""
    rows, cols = np.mgrid[0:height, 0:width] + 0.5
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    return Transformer.from_crs(crs, UTM, always_xy=True).transform(x, y)


def picture(path, transform, *, crs=UTM, width=SIDE, height=SIDE, **profile):
    """Write what lies under a grid."""
    x, y = places(transform, crs, width, height)
    return write_raster(path, colour(x, y), transform=transform, crs=crs, **profile)


def degrees_around(transform):
    """Return a grid in degrees over the ground of a UTM grid."""
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    west, north = to_degrees.transform(transform.c - 20, transform.f + 20)
    return Affine(4.5e-6, 0, west, 0, -4.5e-6, north)


def turned(degrees, pixel_m=0.5):
    """Return a grid turned around the middle of the test's ground."""
    across = pixel_m * np.cos(np.radians(degrees))
    down = pixel_m * np.sin(np.radians(degrees))
    west = 244_110 - 350 * across - 350 * down
    return Affine(across, down, west, down, -across, 3_303_480 - 350 * down + 350 * across)


GRIDS = {
    "the same": (TRAINING, UTM, SIDE),
    "another origin": (Affine(0.4347, 0, 243_990.17, 0, -0.4977, 3_303_609.41), UTM, 550),
    "finer": (Affine(0.25, 0, 243_995, 0, -0.25, 3_303_605), UTM, 1000),
    "coarser": (Affine(0.9, 0, 243_995, 0, -0.9, 3_303_605), UTM, 300),
    "degrees": (degrees_around(TRAINING), "EPSG:4326", 700),
    "the next zone": (None, "EPSG:32614", 700),
    "turned": (turned(30), UTM, 700),
    "turned a little": (turned(-2), UTM, 700),
    "south up": (Affine(0.5, 0, 243_990, 0, 0.5, 3_303_340), UTM, 600),
}


def grid_of(name):
    transform, crs, side = GRIDS[name]
    if transform is None:
        west, north = Transformer.from_crs(UTM, crs, always_xy=True).transform(243_980, 3_303_640)
        transform = Affine(0.5, 0, west, 0, -0.5, north)
    return transform, crs, side


@pytest.mark.parametrize("here", [TRAINING, OTHER], ids=["training's pixel", "other pixel"])
@pytest.mark.parametrize("name", GRIDS)
def test_both_chips_show_the_same_ground(tmp_path, name, here):
    post = picture(tmp_path / "post.tif", here)
    transform, crs, side = grid_of(name)
    pre = picture(tmp_path / "pre.tif", transform, crs=crs, width=side, height=side)
    with Scene.open(post) as scene, open_pre(pre, scene, OPTIONS) as before:
        size = chip_size(scene.pixel_m, ChipGround())
        windows = [size.around(*place) for place in ((160.3, 171.8), (250, 230), (222.2, 300.9))]
        chips = Pictures(scene=scene, pre=before).read_chips(windows, size_px=128)
    assert chips.valid.all()
    after, earlier = (image.astype(float) for image in chips.images)
    # A tenth of a pixel is a whole step of these waves.
    assert np.abs(after - earlier).mean() < 1.0
    assert np.abs(after - earlier).max() < 8


def test_a_picture_on_the_same_grid_is_copied(tmp_path):
    post = write_raster(tmp_path / "post.tif", noise(300, 300))
    pixels = noise(300, 300, seed=1)
    pre = write_raster(tmp_path / "pre.tif", pixels)
    with Scene.open(post) as scene, open_pre(pre, scene, OPTIONS) as before:
        chips = Pictures(scene=scene, pre=before).read_chips(
            [Window(40, 60, 128, 128)], size_px=128
        )
    assert (chips.images[1][0] == pixels[:, 60:188, 40:168]).all()


def test_one_picture_alone_is_read_as_ever(tmp_path):
    path = write_raster(tmp_path / "post.tif", noise(200, 200))
    with Scene.open(path) as scene:
        windows = [Window(-20, 3.5, 128, 140)]
        alone = Pictures(scene=scene).read_chips(windows, size_px=128)
        plain = scene.read_chips(windows, size_px=128)
    assert len(alone.images) == 1
    assert (alone.images[0] == plain.images[0]).all()
    assert (alone.valid == plain.valid).all()


def test_what_one_picture_lacks_is_zero_in_both(tmp_path):
    hole = noise(200, 200)
    hole[:, 50:90, 60:100] = 0
    post = write_raster(tmp_path / "post.tif", noise(200, 200, seed=1))
    pre = write_raster(tmp_path / "pre.tif", hole, nodata=0)
    with Scene.open(post) as scene, open_pre(pre, scene, OPTIONS) as before:
        pictures = Pictures(scene=scene, pre=before)
        chips = pictures.read_chips([Window(0, 0, 128, 128)], size_px=128)
    assert not chips.valid[0, 50:90, 60:100].any()
    assert chips.valid.sum() == 128**2 - 40**2
    assert chips.scene_valid.all()
    assert all((image[0, :, 50:90, 60:100] == 0).all() for image in chips.images)


shifts = st.floats(-9.5, 9.5, allow_nan=False)


@settings(max_examples=6, deadline=None)
@given(east=shifts, north=shifts, name=st.sampled_from(["the same", "finer", "degrees", "turned"]))
def test_a_georeference_that_errs_is_found_and_corrected(tmp_path_factory, east, north, name):
    folder = tmp_path_factory.mktemp("shifted")
    post, pre = blotches(folder / "post.tif", TRAINING), folder / "pre.tif"
    transform, crs, side = grid_of(name)
    blotches(pre, transform, crs=crs, side=side, off=(east, north))
    with Scene.open(post) as scene:
        overlap = find_overlap(pre, scene)
        with open_pre(pre, scene, OPTIONS) as before:
            shift = estimate_shift(scene, before, overlap)
        assert shift.found
        assert (shift.east_m, shift.north_m) == pytest.approx((east, north), abs=0.3)
        with open_pre(pre, scene, OPTIONS, shift=shift) as before:
            pictures = Pictures(scene=scene, pre=before, shift=shift)
            chips = pictures.read_chips([Window(150, 150, 128, 128)], size_px=128)
    if shift.corrected:
        after, earlier = (image[0].astype(float).ravel() for image in chips.images)
        assert np.corrcoef(after, earlier)[0, 1] > 0.95


def blotches(path, transform, *, crs=UTM, side=SIDE, off=(0.0, 0.0)):
    """Write random ground, in a file whose georeference errs by `off` metres."""
    x, y = places(transform, crs, side, side)
    x, y = x - 243_900 - off[0], y - 3_303_200 - off[1]
    random = np.random.default_rng(5)
    waves = [
        np.sin(x * random.normal(0, rate) + y * random.normal(0, rate) + random.uniform(0, 6))
        for rate in np.geomspace(0.1, 1.0, 20)
    ]
    pixels = np.clip(128 + 19 * np.sum(waves, axis=0), 1, 255).astype(np.uint8)
    return write_raster(path, np.stack([pixels] * 3), transform=transform, crs=crs)


def test_ground_control_points_place_the_earlier_picture(tmp_path):
    post = picture(tmp_path / "post.tif", OTHER)
    grid = Affine(0.5, 0, 243_990, 0, -0.5, 3_303_610)
    rows, cols = np.mgrid[0:650, 0:650] + 0.5
    pixels = colour(grid.a * cols + grid.c, grid.e * rows + grid.f)
    points = [
        GroundControlPoint(row=row, col=col, x=grid.a * col + grid.c, y=grid.e * row + grid.f)
        for row in (0, 650)
        for col in (0, 650)
    ]
    pre = tmp_path / "pre.tif"
    with rasterio.open(
        pre,
        "w",
        driver="GTiff",
        width=650,
        height=650,
        count=3,
        dtype="uint8",
        gcps=points,
        crs=UTM,
    ) as file:
        file.write(pixels)
    with Scene.open(post) as scene, open_pre(pre, scene, OPTIONS) as before:
        assert find_overlap(pre, scene).share == pytest.approx(1)
        chips = Pictures(scene=scene, pre=before).read_chips([Window(99, 99, 93, 106)], size_px=128)
    assert np.abs(chips.images[0].astype(float) - chips.images[1]).mean() < 1.0


@pytest.mark.parametrize("name", GRIDS)
def test_the_overlap_is_the_part_that_the_outline_covers(tmp_path, name):
    post = picture(tmp_path / "post.tif", TRAINING)
    transform, crs, side = grid_of(name)
    pre = picture(tmp_path / "pre.tif", transform, crs=crs, width=side, height=side)
    with Scene.open(post) as scene:
        overlap = find_overlap(pre, scene)
    assert overlap.share > 0.8
    assert overlap.box == pytest.approx((0, 0, SIDE, SIDE), abs=30)


def test_half_a_picture_covers_half(tmp_path):
    post = picture(tmp_path / "post.tif", OTHER)
    pre = picture(tmp_path / "pre.tif", OTHER, width=SIDE // 2)
    far = picture(tmp_path / "far.tif", Affine(0.6, 0, 300_000, 0, -0.6, 3_303_600))
    with Scene.open(post) as scene:
        assert find_overlap(pre, scene).share == pytest.approx(0.5)
        assert find_overlap(pre, scene).box == (0, 0, SIDE / 2, SIDE)
        assert find_overlap(far, scene).share == 0


def test_pictures_that_nobody_can_place_are_refused(tmp_path):
    placed = picture(tmp_path / "placed.tif", OTHER)
    bare, small = tmp_path / "bare.png", tmp_path / "small.png"
    for path, shape in ((bare, (200, 300)), (small, (20, 30))):
        Image.fromarray(noise(*shape).transpose(1, 2, 0)).save(path)
    with (
        Scene.open(placed) as scene,
        pytest.raises(SceneError, match=r"bare.png has no CRS and .*placed.tif has one"),
    ):
        find_overlap(bare, scene)
    with Scene.open(bare, SceneOptions(pixel_size=0.5)) as scene:
        with pytest.raises(SceneError, match=r"placed.tif has one.*: give it a CRS"):
            find_overlap(placed, scene)
        with pytest.raises(SceneError, match=r"30 x 20 pixels.*300 x 200.*neither has a CRS"):
            find_overlap(small, scene)
        assert find_overlap(bare, scene).share == 1


def test_a_shift_that_was_not_corrected_moves_nothing(tmp_path):
    pixels = noise(300, 300)
    path = write_raster(tmp_path / "a.tif", pixels)
    shift = Shift(found=True, east_m=0.2, north_m=0.1, blocks=9, agreed=9)
    with Scene.open(path) as scene, open_pre(path, scene, OPTIONS, shift=shift) as before:
        pictures = Pictures(scene=scene, pre=before, shift=shift)
        chips = pictures.read_chips([Window(10, 10, 128, 128)], size_px=128)
    assert (chips.images[0] == chips.images[1]).all()
