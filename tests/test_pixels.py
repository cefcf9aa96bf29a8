"""Bands, depth, palettes and masks become uint8 RGB and what is valid."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from rasters import noise, read_one, write_raster

from data_prep.depth import fit_scale
from data_prep.scene import Scene, SceneOptions


@pytest.mark.parametrize("kind", ["alpha", "mask", "external mask", "nodata", "nan"])
def test_what_is_not_a_picture_is_not_valid(tmp_path, kind):
    pixels, hole = noise(128, 128), np.zeros((128, 128), bool)
    hole[10:40, 20:90] = True
    path = tmp_path / "scene.tif"
    if kind == "alpha":
        alpha = np.where(hole, 0, 255).astype(np.uint8)[None]
        write_raster(path, np.concatenate([pixels, alpha]), photometric="rgb", alpha="yes")
    elif kind == "mask":
        write_raster(path, pixels, mask=~hole)
    elif kind == "external mask":
        write_raster(path, pixels)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
            file.write_mask(~hole)
        assert path.with_name("scene.tif.msk").exists()
    elif kind == "nodata":
        write_raster(path, np.where(hole, 0, pixels), nodata=0)
    else:
        write_raster(path, np.where(hole, np.nan, pixels).astype(np.float32))
    image, valid = read_one(path, Window(0, 0, 128, 128))
    assert np.array_equal(valid, ~hole)
    assert not image[:, hole].any()


def test_alpha_counts_beside_any_number_of_bands(tmp_path):
    pixels = noise(128, 128, bands=6)
    pixels[5, 10:20] = 0
    path = write_raster(tmp_path / "scene.tif", pixels, photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        names = rasterio.enums.ColorInterp
        file.colorinterp = [names.red, names.green, names.blue, *[names.undefined] * 2, names.alpha]
    valid = read_one(path, Window(0, 0, 128, 128))[1]
    assert not valid[10:20].any()
    assert valid.sum() == 118 * 128


@pytest.mark.parametrize("nodata", [0, None])
def test_black_in_one_band_is_a_colour_where_nodata_is_zero_or_nobody_says(tmp_path, nodata):
    pixels = noise(128, 128)
    pixels[0] = 0
    path = write_raster(tmp_path / "scene.tif", pixels, nodata=nodata)
    assert read_one(path, Window(0, 0, 128, 128))[1].all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_black_collar_is_no_picture_where_the_file_says_nothing(tmp_path, dtype):
    pixels = (noise(128, 128).astype(dtype) * 7 if dtype != "uint8" else noise(128, 128)).astype(
        dtype
    )
    whole = read_one(write_raster(tmp_path / "whole.tif", pixels), Window(0, 0, 128, 128))[0]
    pixels[:, :, :50] = 0
    image, valid = read_one(write_raster(tmp_path / "cut.tif", pixels), Window(0, 0, 128, 128))
    assert not valid[:, :50].any()
    assert valid[:, 50:].all()
    # And it does not count for the scale of deeper pixels.
    assert np.abs(image[:, :, 50:].astype(int) - whole[:, :, 50:]).max() <= 3


def test_black_is_a_picture_where_a_mask_says_so(tmp_path):
    pixels = noise(128, 128)
    pixels[:, 20:40] = 0
    path = write_raster(tmp_path / "scene.tif", pixels, mask=np.ones((128, 128), bool))
    assert read_one(path, Window(0, 0, 128, 128))[1].all()


def test_nodata_of_three_bands_together_is_a_hole(tmp_path):
    pixels = noise(128, 128)
    pixels[:, 20:40] = np.array([0, 0, 0])[:, None, None]
    path = write_raster(tmp_path / "scene.tif", pixels, tiled=True, blockxsize=64, blockysize=64)
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="0 0 0")
    with Scene.open(path) as scene:
        valid = scene.read_chips([Window(0, 0, 128, 128)], size_px=128).valid[0]
        assert scene.valid_share() == pytest.approx(1 - 20 / 128)
    assert not valid[20:40].any()
    assert valid.sum() == 108 * 128


def test_alpha_counts_beside_nodata(tmp_path):
    alpha = np.full((1, 128, 128), 255, np.uint8)
    alpha[:, :, :30] = 0
    pixels = np.concatenate([np.minimum(noise(128, 128), 254), alpha])
    pixels[:3, :10] = 255
    path = write_raster(tmp_path / "scene.tif", pixels, photometric="rgb", alpha="yes", nodata=255)
    valid = read_one(path, Window(0, 0, 128, 128))[1]
    assert not valid[:, :30].any()
    assert not valid[:10].any()
    assert valid[10:, 30:].all()


def test_nodata_in_one_band_is_a_hole_where_it_is_no_colour(tmp_path):
    pixels = noise(128, 128).astype(np.int16)
    pixels[1, 5, 7] = -9999
    path = write_raster(tmp_path / "scene.tif", pixels, nodata=-9999)
    valid = read_one(path, Window(0, 0, 128, 128))[1]
    assert not valid[5, 7]
    assert valid.sum() == 128 * 128 - 1


def test_a_palette_becomes_colours(tmp_path):
    path = tmp_path / "scene.tif"
    indexes = np.arange(128 * 128, dtype=np.uint8).reshape(1, 128, 128) % 3
    write_raster(path, indexes, photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (10, 20, 30, 255), 1: (40, 50, 60, 255), 2: (70, 80, 90, 255)})
    image, _ = read_one(path, Window(0, 0, 128, 128))
    assert image[:, 0, :3].T.tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


def test_bands_are_found_by_their_colours_or_taken_as_asked(tmp_path):
    pixels = noise(128, 128, bands=4)
    path = write_raster(tmp_path / "scene.tif", pixels)
    with rasterio.open(path, "r+") as file:
        names = rasterio.enums.ColorInterp
        file.colorinterp = [names.blue, names.green, names.red, names.undefined]
    window = Window(0, 0, 128, 128)
    assert np.array_equal(read_one(path, window)[0], pixels[[2, 1, 0]])
    asked = read_one(path, window, SceneOptions(bands=(4, 4, 1)))[0]
    assert np.array_equal(asked, pixels[[3, 3, 0]])


def test_bands_are_found_by_their_descriptions(tmp_path):
    pixels = noise(128, 128, bands=5)
    path = write_raster(tmp_path / "scene.tif", pixels, photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [rasterio.enums.ColorInterp.undefined] * 5
        file.descriptions = ("coastal_blue", "blue", "Green", "red", "nir")
    with Scene.open(path) as scene:
        assert scene.bands == (4, 3, 2)
        assert scene.warnings == ()


def test_four_nameless_bands_are_read_in_order_with_a_warning(tmp_path):
    pixels = noise(16, 16, bands=4)
    path = write_raster(tmp_path / "scene.tif", pixels, photometric="minisblack")
    with Scene.open(path) as scene:
        assert scene.bands == (1, 2, 3)
        assert "pass --bands 3,2,1" in scene.warnings[0]


@pytest.mark.parametrize(
    ("factor", "dtype"), [(257, "uint16"), (8, "uint16"), (1, "uint16"), (1 / 255, "float32")]
)
def test_a_picture_that_once_was_8_bit_gets_its_values_back(tmp_path, factor, dtype):
    pixels = noise(128, 128)
    path = write_raster(tmp_path / "scene.tif", (pixels.astype(float) * factor).astype(dtype))
    assert np.array_equal(read_one(path, Window(0, 0, 128, 128))[0], pixels)


def test_averaged_overviews_do_not_hide_that_a_picture_once_was_8_bit(tmp_path):
    pixels = noise(600, 600)
    path = write_raster(tmp_path / "scene.tif", pixels.astype(np.uint16) * 257)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    assert np.array_equal(read_one(path, Window(0, 0, 128, 128))[0], pixels[:, :128, :128])


def test_deeper_pixels_are_scaled_alike_all_over_the_scene_by_robust_percentiles(tmp_path):
    deep = np.random.default_rng(0).normal(700, 90, (3, 400, 400)).round().astype(np.uint16)
    deep[:, 0, 0] = 65535  # one saturated pixel must not darken the scene
    path = write_raster(tmp_path / "scene.tif", deep)
    with Scene.open(path) as scene:
        chips = scene.read_chips([Window(0, 0, 128, 128), Window(200, 200, 128, 128)], size_px=128)
        assert scene.depth_rule.endswith("(1 to 99 %) to 38..185")
    for image in chips.images[0]:
        assert np.percentile(image, (1, 99)) == pytest.approx((38, 185), abs=4)
    assert abs(float(chips.images[0][0].mean()) - float(chips.images[0][1].mean())) < 2


@settings(deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=60), st.integers(1, 300))
def test_scaling_keeps_order_and_stays_in_8_bits(values, step):
    stored = (np.array(values, np.uint16) // step * step).astype(np.uint16)
    scaled = fit_scale(stored, stored).apply(stored)
    order = np.argsort(stored)
    assert scaled.dtype == np.uint8
    assert (np.diff(scaled[order].astype(int)) >= 0).all()


def test_percentiles_come_from_valid_pixels_only(tmp_path):
    deep = np.random.default_rng(0).normal(700, 90, (3, 300, 300)).round().astype(np.uint16)
    deep[:, :, :150] = 0
    with Scene.open(write_raster(tmp_path / "a.tif", deep, nodata=0)) as scene:
        half = scene.depth_rule
    with Scene.open(write_raster(tmp_path / "b.tif", deep[:, :, 150:].copy())) as scene:
        whole = scene.depth_rule
    assert half == whole


@pytest.mark.parametrize(
    "name",
    ["07_uint16_x257_rgb", "08_uint16_11bit_rgb", "09_uint16_4band_bgrn_11bit", "10_float32_0_1"],
)
def test_deep_encodings_of_one_scene_give_the_8_bit_pixels(harvey_data, name):
    folder = harvey_data / "edge_rasters" / "encodings"
    options = SceneOptions(bands=(3, 2, 1) if name.startswith("09") else None)
    window = Window(100.5, 90.25, 119.2, 136.5)
    deep = read_one(folder / f"{name}.tif", window, options)[0]
    assert np.array_equal(deep, read_one(folder / "00_baseline_utm15_rgb8.tif", window)[0])
