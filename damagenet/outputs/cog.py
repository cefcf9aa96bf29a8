"""Cloud-optimised GeoTIFFs out of plain ones, with GDAL's complaints as our errors."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy as copy_raster

from damagenet.errors import OutputError
from damagenet.outputs.atomic import unwritable
from data_prep.opening import GDAL_ERRORS

BLOCK_PX = 512
CACHE_BYTES = 2**27
"""What GDAL may hold of the map; by itself it takes a twentieth of the machine's memory."""


def copy_as_cog(plain: Path, target: Path) -> None:
    """Copy a tiled GeoTIFF of numbers into a cloud-optimised one with overviews.

    Raises:
        OutputError: If the pixels did not all arrive.
    """
    with rasterio.open(plain) as file:
        fits_one_block = 1 < max(file.width, file.height) <= BLOCK_PX
    copy_raster(
        plain,
        target,
        driver="COG",
        compress="DEFLATE",
        predictor="YES",
        blocksize=BLOCK_PX,
        overview_resampling="AVERAGE",
        # The driver makes none for a map smaller than one block.
        **({"overview_count": 1} if fits_one_block else {}),
    )
    _check_copy(plain, target)


def _check_copy(plain: Path, copy: Path) -> None:
    """Compare the pixels: GDAL may keep silent about a disk that was full when it closed a file."""
    with rasterio.open(plain) as first, rasterio.open(copy) as second:
        same = all(first.checksum(band) == second.checksum(band) for band in first.indexes)
    if not same:
        raise OutputError(f"{copy.name} did not come out as it should: free space on the disk")


@contextmanager
def raster_errors(path: Path) -> Iterator[None]:
    """Let GDAL work in bounded memory, and name the file that it could not write.

    Raises:
        OutputError: In place of what GDAL raises.
    """
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            # A picture without georeference has a map without one.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except GDAL_ERRORS as err:
        raise unwritable(path, err) from err
