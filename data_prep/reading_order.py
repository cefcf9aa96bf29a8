"""The order in which windows are best read: every block is decoded once and then forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

KEPT_BYTES = 192 * 2**20
"""Decoded blocks that may be counted on to stay in GDAL's cache, which also holds other things."""
KEPT_STRIPS = 2.5
"""Strips that lie between two uses of a block at most: a window reaches from one into the next."""
FINEST_STRIP_PX = 256
"""Height of a strip at least, so that windows side by side share reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOrder:
    """How a scene's file wants to be read: strip by strip of its blocks, from the top.

    Attributes:
        strip_px: Height of a strip; 1 for files that are decoded row by row, top to bottom.
        band_px: Width of what is read from top to bottom before its neighbour to the east. Scenes
            are narrower by far than one band, except very large ones, whose strips would not all
            stay in the cache; of those, blocks under the edge of two bands are decoded twice.
    """

    strip_px: int
    band_px: int

    @classmethod
    def of(cls, dataset: DatasetReader | WarpedVRT) -> "ReadingOrder":
        """Return the order that suits a file, or a view of one."""
        height, width = dataset.block_shapes[0]
        if is_row_wise(dataset):
            return cls(strip_px=1, band_px=dataset.width)
        strip_px = max(height, FINEST_STRIP_PX)
        pixel_bytes = 1 + sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
        kept_px = int(KEPT_BYTES / (KEPT_STRIPS * strip_px * pixel_bytes))
        return cls(strip_px=strip_px, band_px=max(kept_px // width * width, width))

    def places(self, windows: Sequence[Window | None]) -> NDArray[np.int64]:
        """Return the numbers of windows, N of them, in the order in which they are best read.

        Args:
            windows: N windows; None for a unit without any, which comes last.
        """
        keys = [
            (np.inf, 0, 0)
            if one is None
            else (max(one.col_off, 0) // self.band_px, one.row_off // self.strip_px, one.col_off)
            for one in windows
        ]
        band, strip, column = np.array(keys, np.float64).reshape(-1, 3).T
        return np.lexsort((column, strip, band))


def is_row_wise(dataset: DatasetReader | WarpedVRT) -> bool:
    """Return whether a file is decoded in whole rows: striped TIFF, PNG, JPEG."""
    return not isinstance(dataset, WarpedVRT) and dataset.block_shapes[0][1] >= dataset.width
