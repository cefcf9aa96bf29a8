"""Cloud-optimised GeoTIFFs for the map, written block by block, whole or not at all."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window

from api.map_index import Placing
from api.maptiles import MERCATOR
from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears, unwritable
from data_prep.opening import GDAL_ERRORS
from data_prep.reads import Box
from data_prep.scene import Scene
from data_prep.truncation import find_truncation

BLOCK_PX = 512
BLOCKS_AT_ONCE = 16
"""Blocks of a picture that are read and written together (16 MB of pixels)."""
QUALITY = 90
"""Of JPEG, 0 to 100."""
CACHE_BYTES = 2**26


def write_picture(
    path: Path, scene: Scene, shown: Box, offset: tuple[float, float], placing: Placing | None
) -> None:
    """Write part of a scene as 8-bit RGB with a mask.

    Args:
        path: The COG to make.
        scene: The open scene.
        shown: The pixels to write.
        offset: How far the scene lies off its ground, in units of its CRS; it is taken out.
        placing: Where it is put if it has no georeference.

    Raises:
        OutputError: If the file cannot be written.
        SceneError: If the scene cannot be read.
    """
    grid = scene.transform
    corner = Affine(
        grid.a,
        0,
        grid.c + shown.left * grid.a - offset[0],
        0,
        grid.e,
        grid.f + shown.top * grid.e - offset[1],
    )
    profile = {
        "width": shown.right - shown.left,
        "height": shown.bottom - shown.top,
        "count": 3,
        "dtype": "uint8",
        "photometric": "RGB",
        "crs": scene.crs if placing is None else MERCATOR,
        "transform": corner if placing is None else _placed(corner, placing),
    }
    with _cog(path, profile, compress="JPEG", quality=QUALITY) as target:
        for windows in _groups(shown):
            chips = scene.read_chips(windows, size_px=BLOCK_PX)
            for window, pixels, valid in zip(windows, chips.images[0], chips.valid, strict=True):
                _write_block(target, window, shown, pixels, valid)


def _write_block(
    target: DatasetWriter, window: Window, shown: Box, pixels: np.ndarray, valid: np.ndarray
) -> None:
    left, top = int(window.col_off) - shown.left, int(window.row_off) - shown.top
    width, height = min(BLOCK_PX, target.width - left), min(BLOCK_PX, target.height - top)
    place = Window(left, top, width, height)
    target.write(pixels[:, :height, :width], window=place)
    target.write_mask(valid[:height, :width], window=place)


def _groups(shown: Box) -> Iterator[list[Window]]:
    """Yield blocks of a picture, row by row, a few at a time."""
    for top in range(shown.top, shown.bottom, BLOCK_PX):
        row = [
            Window(left, top, BLOCK_PX, BLOCK_PX)
            for left in range(shown.left, shown.right, BLOCK_PX)
        ]
        for start in range(0, len(row), BLOCKS_AT_ONCE):
            yield row[start : start + BLOCKS_AT_ONCE]


def place_damage(source: Path, path: Path, placing: Placing) -> None:
    """Write P(damaged) of a scene without georeference where its picture is placed.

    Args:
        source: Its `damage.tif`.
        path: The COG to make.
        placing: Where its picture is.

    Raises:
        OutputError: If the file cannot be written.
    """
    with rasterio.open(source) as file:
        profile = {
            "width": file.width,
            "height": file.height,
            "count": 1,
            "dtype": "float32",
            "nodata": float("nan"),
            "crs": MERCATOR,
            "transform": _placed(file.transform, placing),
        }
        with _cog(path, profile, compress="DEFLATE", predictor="YES") as target:
            for _, window in file.block_windows(1):
                target.write(file.read(1, window=window), 1, window=window)


def _placed(grid: Affine, placing: Placing) -> Affine:
    return Affine(
        grid.a * placing.x_scale,
        0,
        grid.c * placing.x_scale + placing.x_start,
        0,
        grid.e * placing.y_scale,
        grid.f * placing.y_scale + placing.y_start,
    )


@contextmanager
def _cog(path: Path, profile: dict[str, object], **compression: object) -> Iterator[DatasetWriter]:
    """Yield a tiled file to fill; at the end a COG with overviews appears in its place."""
    settings = {"GDAL_CACHEMAX": CACHE_BYTES, "GDAL_TIFF_INTERNAL_MASK": True}
    tiles = {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX}
    with appears(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        plain = temporary.with_name("plain.tif")
        try:
            with rasterio.Env(**settings):
                with rasterio.open(
                    plain,
                    "w",
                    driver="GTiff",
                    sparse_ok=True,
                    bigtiff="IF_SAFER",
                    **tiles,
                    **profile,
                ) as target:
                    yield target
                copy_raster(
                    plain,
                    temporary,
                    driver="COG",
                    blocksize=BLOCK_PX,
                    overview_resampling="AVERAGE",
                    **compression,
                )
                _check_whole(temporary)
        except GDAL_ERRORS as err:
            raise unwritable(path, err) from err


def _check_whole(path: Path) -> None:
    """See that all blocks are there: GDAL may keep silent about a disk that became full."""
    with rasterio.open(path, driver="GTiff") as made:
        fault = find_truncation(made, path)
    if fault:
        raise OutputError(f"{path.name} did not come out whole: free space on the disk")
