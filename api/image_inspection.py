"""What an image that was sent may ask for: read from its header, before any pixel is decoded."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from api.problems import ServiceError
from api.settings import ServiceSettings
from api.tiff_directories import count_directories
from damagenet.errors import SceneError
from data_prep.opening import gdal_session, open_raster

DRIVERS = {"GeoTIFF": "GTiff", "PNG": "PNG", "JPEG": "JPEG"}
MIB = 2**20
MAX_BLOCK_BYTES = 256 * MIB
"""Bytes that must be decoded at once; as much as the engine keeps of decoded blocks."""
MAX_BLOCKS = 20_000_000
"""Blocks of one image: 40,000 million pixels in blocks of 128 are 2.4 million a band."""
MAX_BANDS = 64
MAX_DIRECTORIES = 64
"""Pictures in one TIFF: the scene, its overviews, and masks of both."""
MAX_INFLATION = 4096
"""Decoded bytes per byte of the file; deflate reaches 1,032, sparse files more."""
SMALL_BYTES = 64 * MIB
"""Decoded bytes that are no harm from however few."""


def inspect_image(path: Path, kind: str, settings: ServiceSettings) -> None:
    """Refuse an image whose header asks for too much, or that is damaged.

    Args:
        path: The file.
        kind: GeoTIFF, PNG or JPEG, as its first bytes say.
        settings: Limits of the service.

    Raises:
        ServiceError: 413 or 422.
        SceneError: If it is damaged or truncated.
    """
    if kind == "GeoTIFF" and count_directories(path, MAX_DIRECTORIES) > MAX_DIRECTORIES:
        raise ServiceError(
            413, f"{path.name} holds more than {MAX_DIRECTORIES} pictures: send one scene a file"
        )
    try:
        with gdal_session(path, strict=False), _open(path, DRIVERS[kind]) as dataset:
            _check_size(dataset, path, settings)
            _check_blocks(dataset, path)
            _check_pixels(dataset, path)
    except ValueError as err:
        # Texts in a header that are no text.
        raise SceneError(f"{path} has a header that cannot be read: write it again") from err
    # Only now, as it walks along the last row of blocks to see whether the file is whole.
    open_raster(path).close()


def _open(path: Path, driver: str) -> DatasetReader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver=driver)


def _check_size(dataset: DatasetReader, path: Path, settings: ServiceSettings) -> None:
    pixels = dataset.width * dataset.height
    if pixels > settings.max_pixels:
        raise ServiceError(
            413,
            f"{path.name} has {dataset.width:,} x {dataset.height:,} pixels, more than "
            f"{settings.max_pixels:,} (max_pixels): cut it into parts",
        )
    if dataset.count > MAX_BANDS:
        raise ServiceError(
            413, f"{path.name} has {dataset.count:,} bands, more than {MAX_BANDS}: send fewer"
        )


def _check_blocks(dataset: DatasetReader, path: Path) -> None:
    height, width = _block_shape(dataset, path)
    by_pixel = dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL"
    pixel_bytes = _pixel_bytes(dataset)
    block_bytes = height * width * (pixel_bytes if by_pixel else pixel_bytes // dataset.count)
    if block_bytes > MAX_BLOCK_BYTES:
        raise ServiceError(
            413,
            f"{path.name} has blocks of {width:,} x {height:,} pixels that take "
            f"{block_bytes // MIB:,} MB decoded, more than {MAX_BLOCK_BYTES // MIB} MB: "
            "write it with tiles of 256 or 512 pixels",
        )
    blocks = -(-dataset.width // width) * -(-dataset.height // height)
    blocks *= 1 if by_pixel else dataset.count
    if blocks > MAX_BLOCKS:
        raise ServiceError(
            413,
            f"{path.name} has {blocks:,} blocks of {width} x {height} pixels, more than "
            f"{MAX_BLOCKS:,}: write it with tiles of 256 or 512 pixels",
        )


def _check_pixels(dataset: DatasetReader, path: Path) -> None:
    decoded = dataset.width * dataset.height * _pixel_bytes(dataset)
    if decoded > max(SMALL_BYTES, MAX_INFLATION * path.stat().st_size):
        raise ServiceError(
            422,
            f"{path.name} claims {decoded / 1e9:,.1f} GB of pixels in {path.stat().st_size:,} "
            "bytes: it holds next to no picture",
        )
    if not np.isfinite(list(dataset.transform)).all():
        raise ServiceError(422, f"{path.name} has no finite position: give it one")


def _block_shape(dataset: DatasetReader, path: Path) -> tuple[int, int]:
    """Return height and width of what is decoded at once."""
    if dataset.driver == "PNG" and _is_interlaced(path):
        return dataset.height, dataset.width
    height, width = dataset.block_shapes[0]
    return int(height), int(width)


def _is_interlaced(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(29)[28:] != b"\x00"


def _pixel_bytes(dataset: DatasetReader) -> int:
    try:
        return sum(np.dtype(name).itemsize for name in dataset.dtypes)
    except TypeError as err:
        raise SceneError(
            f"{dataset.name} has pixels of type {dataset.dtypes[0]}, which is not read"
        ) from err
