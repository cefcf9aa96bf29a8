"""What cannot be a scene is refused with one sentence that says what to do."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window
from rasters import UTM, noise, smooth, write_raster

from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.opening import open_raster
from data_prep.scene import Scene, SceneOptions
from data_prep.windows import Grid

MOON = "+proj=longlat +R=1737400 +no_defs"


def read_all(path: Path, options: SceneOptions | None) -> None:
    with Scene.open(path, options) as scene:
        grid = Grid.over(scene, ChipGround())
        for piece in grid.pieces():
            scene.read_chips([unit.windows[0] for unit in grid.units(piece)], size_px=128)


def refusal(path: Path, options: SceneOptions | None = None) -> str:
    """Open a scene and read all of it; return the sentence that refuses it."""
    with pytest.raises(SceneError) as caught:
        read_all(path, options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def cut(path: Path, share: float) -> Path:
    """Keep only the first part of a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "does not exist: name a GeoTIFF" in refusal(tmp_path / "none.tif")
    assert "is a folder, not a file" in refusal(tmp_path)


def test_an_empty_file_is_told_from_other_faults(tmp_path):
    path = tmp_path / "scene.tif"
    path.touch()
    assert "is empty (zero bytes)" in refusal(path)


def test_a_file_that_is_no_raster_is_refused_whatever_its_name(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_text("lon,lat\n1,2\n")
    assert "is no GeoTIFF, COG, PNG or JPEG" in refusal(path)


def test_a_header_without_pixels_is_damaged(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes(b"II*\x00\x08\x00\x00\x00")
    assert "begins like a TIFF but cannot be opened" in refusal(path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("profile", [{}, {"compress": "deflate"}, {"interleave": "band"}])
def test_a_truncated_tiff_is_refused_before_any_pixel_is_read(tmp_path, share, profile):
    path = write_raster(tmp_path / "scene.tif", noise(300, 300), **profile)
    message = refusal(cut(path, share))
    assert "is truncated" in message or "damaged or incomplete" in message


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_truncated_picture_is_refused_when_it_is_read(tmp_path, kind):
    path = tmp_path / f"photo.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        driver = {"png": "PNG", "jpg": "JPEG"}[kind]
        write_raster(path, smooth(300, 300), transform=None, crs=None, driver=driver)
    message = refusal(cut(path, 0.5), SceneOptions(pixel_size=0.5))
    assert "is damaged or incomplete" in message or "its end mark is missing" in message


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "lzw"])
def test_a_corrupt_block_is_refused_though_gdal_may_read_it(tmp_path, compression):
    profile = {"compress": compression, "tiled": True, "blockxsize": 128, "blockysize": 128}
    if compression == "jpeg":
        profile["photometric"] = "ycbcr"
    path = write_raster(tmp_path / "scene.tif", noise(256, 256), **profile)
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
        size = int(file.get_tag_item("BLOCK_SIZE_1_1", "TIFF", bidx=1))
    spoiled = bytearray(path.read_bytes())
    middle = offset + size // 2
    spoiled[middle : middle + 200] = b"\xff\xd9" * 100
    path.write_bytes(spoiled)
    assert "is damaged or incomplete" in refusal(path)


@pytest.mark.parametrize("seed", range(40))
def test_a_spoilt_file_is_read_or_refused_but_never_crashes(tmp_path, seed):
    random = np.random.default_rng(seed)
    compression = ("deflate", "lzw", "jpeg", "packbits")[seed % 4]
    path = write_raster(tmp_path / "scene.tif", smooth(150, 150), compress=compression)
    spoilt = bytearray(path.read_bytes())
    for place in random.integers(0, (300, len(spoilt))[seed % 2], 4):
        spoilt[place] = random.integers(0, 256)
    path.write_bytes(spoilt)
    try:
        read_all(path, SceneOptions(pixel_size=0.5))
    except SceneError as err:
        message = str(err)
        assert str(path) in message
        assert "\n" not in message


def test_sparse_blocks_are_no_damage(tmp_path):
    path = tmp_path / "sparse.tif"
    profile = {"driver": "GTiff", "width": 2048, "height": 2048, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", **profile, crs="EPSG:32615", transform=UTM, tiled=True, sparse_ok=True, nodata=0
    ) as file:
        file.write(noise(256, 256), window=Window(0, 0, 256, 256))
    with Scene.open(path) as scene:
        assert scene.picture(64)[1].mean() == pytest.approx(1 / 64)


def test_a_vrt_is_refused_unless_allowed_by_name_also_under_another_name(tmp_path):
    source = write_raster(tmp_path / "source.tif", noise(20, 20))
    path = tmp_path / "scene.tif"
    path.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>EPSG:32615</SRS>'
        f"<GeoTransform>{', '.join(map(str, UTM.to_gdal()))}</GeoTransform>"
        + "".join(
            f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>'
            f"<SourceFilename>{source}</SourceFilename><SourceBand>{band}</SourceBand>"
            "</SimpleSource></VRTRasterBand>"
            for band in (1, 2, 3)
        )
        + "</VRTDataset>"
    )
    assert "is a VRT, which may point at any other file" in refusal(path)
    with Scene.open(path, SceneOptions(allow_driver=("VRT",))) as scene:
        assert scene.width == 20


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/vsizip/scenes.zip/scene.tif", "vsizip"),
        ("/vsigzip/scene.tif.gz", "vsigzip"),
    ],
)
def test_a_virtual_path_is_refused_unless_allowed_by_name(address, name):
    message = refusal(Path(address))
    assert message.startswith(f"{address} is a virtual path")
    assert f"--allow-driver {name}" in message


@pytest.mark.parametrize(
    "address",
    [
        "/vsicurl/https://example.org/scene.tif?sig=secret",
        "/vsizip//vsicurl/https://example.org/scenes.zip/scene.tif",
        "/vsicurl?url=https%3A%2F%2Fexample.org%2Fscene.tif",
        "/VSIS3/bucket/scene.tif",
        "https://example.org/scene.tif",
    ],
)
def test_no_virtual_path_reaches_into_the_network(address):
    options = SceneOptions(allow_driver=("vsicurl", "vsizip", "vsis3"))
    with pytest.raises(SceneError, match="write a plain address") as caught:
        Scene.open(Path(address), options)
    assert "secret" not in str(caught.value)


def test_an_allowed_virtual_path_is_opened(tmp_path):
    import zipfile

    source = write_raster(tmp_path / "scene.tif", noise(20, 20))
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(source, "scene.tif")
    path = Path(f"/vsizip/{{{tmp_path}/scenes.zip}}/scene.tif")
    with open_raster(path, ("vsizip",)) as file:
        assert file.width == 20


def test_another_format_is_opened_only_when_its_driver_is_named(tmp_path):
    path = write_raster(tmp_path / "scene.img", noise(20, 20), driver="HFA")
    assert "name its GDAL driver with --allow-driver" in refusal(path)
    with Scene.open(path, SceneOptions(allow_driver=("HFA",))) as scene:
        assert scene.height == 20


def test_one_band_where_three_are_needed_is_refused_and_can_be_asked_for(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(128, 128, bands=1))
    message = refusal(path)
    assert message.startswith("scene has 1 band, model needs 3 (bands 1,2,3): pass --bands")
    with Scene.open(path, SceneOptions(bands=(1, 1, 1))) as scene:
        assert scene.bands == (1, 1, 1)


def test_a_band_that_is_not_there_is_named(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(16, 16))
    message = refusal(path, SceneOptions(bands=(3, 2, 5)))
    assert message == "scene has 3 bands, --bands asks for band 5: name bands from 1 to 3"


def test_complex_pixels_are_refused(tmp_path):
    path = write_raster(tmp_path / "scene.tif", np.ones((3, 8, 8), np.complex64))
    assert "has complex pixels (radar)" in refusal(path)


def test_no_crs_and_no_ground_sampling_is_refused(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(16, 16), crs=None)
    assert "has no CRS and so no ground sampling: pass --pixel-size" in refusal(path)


def test_another_planet_is_refused(tmp_path):
    transform = Affine(4.5e-6, 0, 10, 0, -4.5e-6, 10)
    path = write_raster(tmp_path / "moon.tif", noise(16, 16), crs=MOON, transform=transform)
    assert "cannot be placed on the Earth" in refusal(path)


def test_a_position_outside_its_crs_is_refused(tmp_path):
    transform = Affine(0.5, 0, 9e9, 0, -0.5, 9e9)
    path = write_raster(tmp_path / "far.tif", noise(16, 16), transform=transform)
    assert "lies where its CRS is not defined" in refusal(path)


def test_coarse_scenes_are_warned_of_then_refused_unless_forced(tmp_path):
    def scene_of(metres: float) -> Path:
        transform = Affine(metres, 0, UTM.c, 0, -metres, UTM.f)
        return write_raster(tmp_path / f"{metres}.tif", noise(16, 16), transform=transform)

    with Scene.open(scene_of(2.0)) as scene:
        assert not scene.coarse
        assert "coarser than 1.5 m" in scene.warnings[0]
    assert "has pixels of 10 m, too coarse" in refusal(scene_of(10.0))
    with Scene.open(scene_of(10.0), SceneOptions(force_coarse=True)) as scene:
        assert scene.coarse


@pytest.mark.parametrize(
    "name",
    [
        "broken/90_truncated_half.tif",
        "broken/91_corrupt_jpeg_block.tif",
        "broken/92_zero_bytes.tif",
        "rasterio/corrupt.tif",
    ],
)
def test_the_broken_files_at_hand_are_refused(harvey_data, name):
    assert refusal(harvey_data / "edge_rasters" / name)


def test_a_very_coarse_pixel_is_told_in_plain_figures(tmp_path):
    coarse = Affine(1200, 0, UTM.c, 0, -1200, UTM.f)
    path = write_raster(tmp_path / "scene.tif", noise(20, 20), transform=coarse)
    assert "has pixels of 1,200 m, too coarse" in refusal(path)
