"""Which blocks of a TIFF are stored at all: what is not, shows nothing and need not be decoded."""

from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from data_prep.bands import BandChoice
from data_prep.pixels import is_by_nodata, is_silent

MOST_BLOCKS = 4_000_000
"""Blocks that are looked up, at most: each takes some microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlocks:
    """Where a file holds blocks; GDAL reads all others as nodata, or as zero.

    Attributes:
        there: True where a block is stored, bool (block rows, block columns).
        height_px: Height of a block.
        width_px: Width of a block.
    """

    there: np.ndarray
    height_px: int
    width_px: int

    def any_in(self, window: Window) -> bool:
        """Return whether a block that is stored lies in a window of whole pixels."""
        left, top = int(window.col_off), int(window.row_off)
        right, bottom = left + int(window.width), top + int(window.height)
        rows = slice(top // self.height_px, -(-bottom // self.height_px))
        columns = slice(left // self.width_px, -(-right // self.width_px))
        return bool(self.there[rows, columns].any())


def stored_blocks(dataset: DatasetReader | WarpedVRT, choice: BandChoice) -> StoredBlocks | None:
    """Return which blocks of a TIFF are stored, from its index; no pixel is read.

    Args:
        dataset: The opened scene.
        choice: The bands that are read.

    Returns:
        None where all blocks are stored, the file does not say, or blocks that are not stored
        would be a picture: whatever a mask of its own says.
    """
    if isinstance(dataset, WarpedVRT) or dataset.driver != "GTiff":
        return None
    band = _telling_band(dataset, choice)
    height, width = dataset.block_shapes[0]
    rows, columns = -(-dataset.height // height), -(-dataset.width // width)
    if band is None or rows * columns > MOST_BLOCKS:
        return None
    bands = _bands_with_own_blocks(dataset, band, choice)
    there = np.zeros((rows, columns), bool)
    for row in range(rows):
        for column in range(columns):
            there[row, column] = any(_is_stored(dataset, one, column, row) for one in bands)
    return None if there.all() else StoredBlocks(there=there, height_px=height, width_px=width)


def _telling_band(dataset: DatasetReader, choice: BandChoice) -> int | None:
    """Return the band by which a block that is not stored is known to be no picture, or None."""
    first = choice.indexes[0]
    flags = dataset.mask_flag_enums[first - 1]
    if is_by_nodata(dataset, first):
        nodata, kind = dataset.nodatavals[first - 1], np.dtype(dataset.dtypes[first - 1])
        return first if _holds(kind, nodata) else None
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        return None
    if ColorInterp.alpha in dataset.colorinterp:
        return int(dataset.colorinterp.index(ColorInterp.alpha)) + 1
    # Such a block is read as zeros, which are no picture where the file says nothing of it.
    return first if is_silent(dataset, choice) else None


def _holds(kind: np.dtype, value: float) -> bool:
    """Return whether pixels of a type can have a value; GDAL fills blocks with another if not."""
    if kind.kind == "f":
        return True
    limits = np.iinfo(kind)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _bands_with_own_blocks(
    dataset: DatasetReader, telling: int, choice: BandChoice
) -> tuple[int, ...]:
    if dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL":
        return (1,)
    return tuple({telling, *choice.indexes})


def _is_stored(dataset: DatasetReader, band: int, column: int, row: int) -> bool:
    return bool(dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band))
