"""Scenes of every make read as uint8 RGB on a north-up grid, with what is valid."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.windows import Window
from rasters import UTM, noise, read_one, smooth, write_raster

from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.scene import Scene, SceneOptions
from data_prep.windows import Grid, chip_size


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(col=st.integers(-140, 220), row=st.integers(-140, 190))
def test_a_whole_window_holds_the_scenes_own_pixels_and_padding_is_invalid(tmp_path, col, row):
    pixels = noise(180, 210)
    path = tmp_path / "scene.tif"
    if not path.exists():
        write_raster(path, pixels)
    image, valid = read_one(path, Window(col, row, 128, 128))
    around = np.zeros((3, 180 + 400, 210 + 400), np.uint8)
    around[:, 200:380, 200:410] = pixels
    assert np.array_equal(image, around[:, 200 + row : 328 + row, 200 + col : 328 + col])
    assert np.array_equal(valid, image[0] > 0)


def test_many_windows_read_together_equal_each_read_alone(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(700, 900))
    places = np.random.default_rng(1).uniform(-60, 850, (40, 2))
    windows = [Window(col, row, 119.2, 136.5) for col, row in places]
    windows += [Window(int(col), int(row), 128, 128) for col, row in places]
    with Scene.open(path) as scene:
        together = scene.read_chips(windows, size_px=128)
        alone = [scene.read_chips([window], size_px=128) for window in windows]
    assert np.array_equal(together.images[0], np.concatenate([one.images[0] for one in alone]))
    assert np.array_equal(together.valid, np.concatenate([one.valid for one in alone]))
    assert together.images[0].dtype == np.uint8
    assert together.images[0].flags.c_contiguous


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    places=st.lists(st.tuples(st.integers(0, 172), st.integers(0, 72)), min_size=1, max_size=6),
    hole=st.integers(0, 100),
)
def test_whole_windows_of_one_read_equal_each_read_alone(tmp_path, places, hole):
    path, pixels, mask = tmp_path / "scene.tif", noise(200, 300), np.ones((200, 300), bool)
    mask[:hole, :hole] = False
    write_raster(path, pixels, mask=mask)
    windows = [Window(col, row, 128, 128) for col, row in places]
    with Scene.open(path) as scene:
        chips = scene.read_chips(windows, size_px=128)
    shown = pixels * mask
    for number, (col, row) in enumerate(places):
        part = slice(row, row + 128), slice(col, col + 128)
        assert np.array_equal(chips.images[0][number], shown[:, *part])
        assert np.array_equal(chips.valid[number], mask[part])


def test_the_grids_chips_show_every_pixel_of_a_scene_once(tmp_path):
    pixels = noise(300, 200)
    with Scene.open(write_raster(tmp_path / "scene.tif", pixels)) as scene:
        grid = Grid.over(scene, ChipGround())
        units = [unit for piece in grid.pieces() for unit in grid.units(piece)]
        chips = scene.read_chips([unit.windows[0] for unit in units], size_px=128)
    assert chips.valid.sum() == 300 * 200
    assert chips.images[0].sum(dtype=np.int64) == pixels.sum(dtype=np.int64)


def test_a_scene_smaller_than_a_chip_is_padded(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(5, 4))
    image, valid = read_one(path, Window(0, 0, 128, 128))
    assert valid.sum() == 20
    assert not image[:, 5:].any()


def test_pixel_lengths_are_true_metres_also_in_degrees_and_in_web_mercator(tmp_path):
    degrees = Affine(4.487879136e-6, 0, -95.6, 0, -4.487879136e-6, 29.8)
    mercator = Affine(0.5, 0, -10_642_000, 0, -0.5, 3_475_000)
    paths = [
        write_raster(tmp_path / "deg.tif", noise(8, 8), transform=degrees, crs="EPSG:4326"),
        write_raster(tmp_path / "mer.tif", noise(8, 8), transform=mercator, crs="EPSG:3857"),
    ]
    lengths = []
    for path in paths:
        with Scene.open(path) as scene:
            lengths.append(scene.pixel_m)
    assert lengths[0] == pytest.approx((0.4339, 0.4975), abs=2e-4)
    # cos(29.77 degrees) of half a metre
    assert lengths[1] == pytest.approx((0.4345, 0.4323), abs=3e-3)


@pytest.mark.parametrize("turn", ["rotated", "south-up", "gcps", "mercator"])
def test_the_same_ground_gives_nearly_the_same_chip_however_it_is_laid_out(tmp_path, turn):
    picture = smooth(400, 400)
    straight = write_raster(tmp_path / "straight.tif", picture)
    centre = UTM.c + 200 * UTM.a, UTM.f + 200 * UTM.e
    other = tmp_path / "other.tif"
    if turn == "rotated":
        # 90 degrees: the first column of the file is the last row of the ground.
        flipped = np.ascontiguousarray(np.rot90(picture, k=-1, axes=(1, 2)))
        turned = Affine(0, UTM.a, UTM.c, UTM.e * -1, 0, UTM.f + 400 * UTM.e)
        write_raster(other, flipped, transform=turned)
    elif turn == "south-up":
        mirrored = Affine(UTM.a, 0, UTM.c, 0, -UTM.e, UTM.f + 400 * UTM.e)
        write_raster(other, np.ascontiguousarray(picture[:, ::-1]), transform=mirrored)
    elif turn == "gcps":
        corners = [(0, 0), (0, 400), (400, 0), (400, 400)]
        points = [
            GroundControlPoint(row, col, UTM.c + col * UTM.a, UTM.f + row * UTM.e)
            for row, col in corners
        ]
        write_raster(other, picture, transform=None, gcps=points)
    else:
        _warp(straight, other, "EPSG:3857")
    chips = [_chip_at(path, centre) for path in (straight, other)]
    assert chips[1][1].all()
    difference = np.abs(chips[0][0].astype(int) - chips[1][0])[:, 4:-4, 4:-4]
    assert difference.mean() < 2.5


def _warp(source: Path, target: Path, crs: str) -> None:
    from rasterio.vrt import WarpedVRT

    with (
        rasterio.open(source) as file,
        WarpedVRT(file, crs=crs, resampling=rasterio.enums.Resampling.cubic) as view,
    ):
        write_raster(target, view.read(), transform=view.transform, crs=crs)


def _chip_at(path: Path, place: tuple[float, float]):
    """Return the chip centred on a place given in EPSG:32615."""
    from rasterio.warp import transform

    with Scene.open(path) as scene:
        (x,), (y,) = transform("EPSG:32615", scene.crs, [place[0]], [place[1]])
        inverse = ~scene.transform
        window = chip_size(scene.pixel_m, ChipGround()).around(
            inverse.a * x + inverse.c, inverse.e * y + inverse.f
        )
        chips = scene.read_chips([window], size_px=128)
    return chips.images[0][0], chips.valid[0]


def test_a_finer_scene_is_resampled_onto_the_training_pixel_without_aliasing(tmp_path):
    checks = np.indices((600, 600)).sum(axis=0) % 2 * 200 + 20
    fine = Affine(UTM.a / 4, 0, UTM.c, 0, UTM.e / 4, UTM.f)
    path = write_raster(
        tmp_path / "fine.tif", np.stack([checks] * 3).astype(np.uint8), transform=fine
    )
    image, valid = read_one(path, Window(40.3, 50.7, 512, 512))
    assert valid.all()
    # Pixels of a chessboard, four to one, must come out grey.
    assert np.abs(image.astype(int) - 120).max() <= 3


def test_holes_lend_no_colour_to_their_neighbours(tmp_path):
    pixels = np.full((3, 200, 200), 180, np.uint8)
    mask = np.ones((200, 200), bool)
    mask[:, 100:] = False
    pixels[:, :, 100:] = 0
    path = write_raster(tmp_path / "scene.tif", pixels, mask=mask)
    image, valid = read_one(path, Window(30.5, 20.5, 119.2, 136.5))
    assert 0.5 < valid.mean() < 0.7
    assert set(np.unique(image[:, valid])) == {180}
    assert not image[:, ~valid].any()


def test_a_rotated_scene_of_many_bands_is_valid_only_where_it_lies(tmp_path):
    slanted = Affine(0.3, 0.2, UTM.c, 0.2, -0.35, UTM.f)
    path = write_raster(
        tmp_path / "scene.tif",
        noise(200, 200, bands=5),
        transform=slanted,
        photometric="minisblack",
    )
    with Scene.open(path) as scene:
        share = scene.picture(200)[1].mean()
        area = scene.width * scene.height * 0.4347 * 0.4977
    assert share == pytest.approx(200 * 200 * (0.3 * 0.35 + 0.2 * 0.2) / area, rel=0.03)


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_a_plain_picture_is_read_in_pixel_coordinates_when_its_sampling_is_given(
    tmp_path, extension
):
    driver = {"png": "PNG", "jpg": "JPEG"}[extension]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        path = write_raster(
            tmp_path / f"photo.{extension}",
            smooth(140, 150),
            transform=None,
            crs=None,
            driver=driver,
        )
    with Scene.open(path, SceneOptions(pixel_size=0.45)) as scene:
        assert scene.crs is None
        assert scene.pixel_m == (0.45, 0.45)
        assert scene.bounds == (0, -140, 150, 0)
        assert np.isnan(scene.lonlat(np.array([1.0]), np.array([2.0]))[0]).all()
        assert "its own coordinates" in scene.warnings[0]
        chips = scene.read_chips([Window(0, 0, 128, 128)], size_px=128)
    assert chips.valid.all()


def test_lonlat_places_the_middle_of_a_utm_scene(tmp_path):
    with Scene.open(write_raster(tmp_path / "scene.tif", noise(10, 10))) as scene:
        lons, lats = scene.lonlat(np.array([5.0]), np.array([5.0]))
    assert (lons[0], lats[0]) == pytest.approx((-95.6490, 29.8370), abs=2e-3)


def test_the_time_of_acquisition_is_read_from_the_tags(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(10, 10))
    with rasterio.open(path, "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2017:08:31 17:38:50")
    with Scene.open(path) as scene:
        assert scene.acquired == "2017-08-31T17:38:50"
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="IMAGERY", ACQUISITIONDATETIME="2017-08-31 17:38:51")
    with Scene.open(path) as scene:
        assert scene.acquired == "2017-08-31T17:38:51"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2017-08-31T17:00:00-05:00", "2017-08-31T22:00:00+00:00"),
        ("2017-08-31T20:00:00Z", "2017-08-31T20:00:00+00:00"),
        ("20170831", "2017-08-31"),
        ("2017:08:31", "2017-08-31"),
        ("0001-01-01T00:00:00+09:00", ""),
        ("last week", ""),
    ],
)
def test_times_of_all_zones_sort_as_text_and_a_day_stays_a_day(tmp_path, written, said):
    path = write_raster(tmp_path / "scene.tif", noise(10, 10))
    with rasterio.open(path, "r+") as file:
        file.update_tags(ACQUISITIONDATETIME=written)
    with Scene.open(path) as scene:
        assert scene.acquired == said


def test_pixels_that_no_camera_has_are_refused_before_anything_is_read(tmp_path):
    degrees = Affine(4e-6, 0, 95.6, 0, -4e-6, 29.8)
    path = write_raster(tmp_path / "s.tif", noise(50, 50), transform=degrees)  # degrees, as metres
    with pytest.raises(SceneError, match=r"pixels of .* m, which no camera sees.*check its CRS"):
        Scene.open(path)


@pytest.mark.parametrize("angle", [30, 90])
def test_a_rotated_scene_in_degrees_is_laid_on_the_training_pixel(tmp_path, angle):
    turn = np.deg2rad(angle)
    along, down = (
        4e-6 * np.array([np.cos(turn), np.sin(turn)]),
        4e-6 * np.array([np.sin(turn), -np.cos(turn)]),
    )
    tilted = Affine(along[0], down[0], -95.6, along[1], down[1], 29.8)
    path = write_raster(tmp_path / "s.tif", noise(300, 300), transform=tilted, crs="EPSG:4326")
    ground = ChipGround()
    with Scene.open(path) as scene:
        wanted = ground.width_m / ground.size_px, ground.height_m / ground.size_px
        assert scene.pixel_m == pytest.approx(wanted, rel=1e-3)


def test_the_decimated_picture_keeps_the_scenes_shape(tmp_path):
    with Scene.open(write_raster(tmp_path / "scene.tif", noise(300, 600))) as scene:
        picture, valid = scene.picture(100)
    assert picture.shape == (3, 50, 100)
    assert valid.all()


@pytest.mark.parametrize(
    ("profile", "warned"),
    [
        ({"compress": "deflate"}, False),
        ({"compress": "jpeg"}, True),
        ({"compress": "jpeg", "photometric": "ycbcr", "tiled": True}, True),
        ({"driver": "JPEG"}, True),
        ({"driver": "PNG"}, False),
    ],
)
def test_a_scene_compressed_with_loss_is_said_to_be_so(tmp_path, profile, warned):
    path = write_raster(tmp_path / "scene.tif", smooth(300, 300), **profile)
    with Scene.open(path, SceneOptions(pixel_size=0.5)) as scene:
        assert any("compressed with loss (JPEG)" in text for text in scene.warnings) == warned
