"""The canvas of a mosaic: a rectangle of the world grid, and tiles painted onto it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine
from rasterio.windows import Window

from damagenet.recipe import Bounds
from data_prep.harvey import HarveyTiles
from data_prep.tile import PIXEL_DEGREES, TILE_PX

BLOCK_PX = 512
"""Side of the blocks that a mosaic is painted and written in."""

_OFFSETS = np.arange(TILE_PX) - (TILE_PX - 1) / 2
_FROM_CENTRE = np.hypot(_OFFSETS[:, None], _OFFSETS).astype(np.float32)
"""Distance of a tile's pixels from its centre: JPEG is worst where a tile was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A rectangle of the world grid; column and row of its upper left pixel, sides in pixels."""

    column: int
    row: int
    width: int
    height: int

    @classmethod
    def around(cls, box: Bounds) -> "Frame":
        """Return the pixels that a box in degrees touches."""
        west, south, east, north = box
        edges = np.array([west + 180, 90 - north, east + 180, 90 - south]) / PIXEL_DEGREES
        # A thousandth of a pixel is rounding, not ground.
        left, top = np.floor(edges[:2] + 0.001).astype(int)
        right, bottom = np.ceil(edges[2:] - 0.001).astype(int)
        return cls(
            column=int(left), row=int(top), width=int(right - left), height=int(bottom - top)
        )

    @property
    def transform(self) -> Affine:
        """From pixels to degrees."""
        west, north = self.column * PIXEL_DEGREES - 180, 90 - self.row * PIXEL_DEGREES
        return Affine(PIXEL_DEGREES, 0, west, 0, -PIXEL_DEGREES, north)

    def blocks(self) -> Iterator[Window]:
        """Cut the frame into windows of at most 512 pixels a side, row by row."""
        for row in range(0, self.height, BLOCK_PX):
            for column in range(0, self.width, BLOCK_PX):
                width = min(BLOCK_PX, self.width - column)
                yield Window(column, row, width, min(BLOCK_PX, self.height - row))


@dataclass(slots=True)
class Overlap:
    """Sums over pixels that more than one tile covers."""

    pixels: int = 0
    difference: float = 0.0

    def add(self, old: npt.NDArray[np.uint8], new: npt.NDArray[np.uint8]) -> None:
        """Count pixels, each (P, 3), that two tiles show."""
        self.pixels += len(old)
        self.difference += float(np.abs(old.astype(int) - new).mean(axis=1).sum())

    @property
    def mean(self) -> float:
        """Mean absolute difference, of 255 levels; 0 without overlap."""
        return self.difference / self.pixels if self.pixels else 0.0


def paint(
    window: Window, tiles: HarveyTiles, chosen: pd.DataFrame, overlap: Overlap
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Paint a window of the mosaic; where tiles overlap, the one with the nearest centre stays.

    Args:
        window: Pixels of the mosaic.
        tiles: Where the pixels come from.
        chosen: Rows with `tile` (number in `tiles`) and `left`, `top` (pixels of the mosaic).
        overlap: Is told how overlapping tiles agree.

    Returns:
        uint8 pixels (h, w, 3) and bool (h, w), where a tile covers them.
    """
    pixels = np.zeros((window.height, window.width, 3), np.uint8)
    distance = np.full((window.height, window.width), np.inf, np.float32)
    left = (chosen["left"] - window.col_off).to_numpy()
    top = (chosen["top"] - window.row_off).to_numpy()
    across = (left > -TILE_PX) & (left < window.width)
    near = np.flatnonzero(across & (top > -TILE_PX) & (top < window.height))
    for tile, x, y in zip(chosen["tile"].to_numpy()[near], left[near], top[near], strict=True):
        rows = slice(max(y, 0), min(y + TILE_PX, window.height))
        columns = slice(max(x, 0), min(x + TILE_PX, window.width))
        inside = (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
        source, offset = tiles.pixels[tile][inside], _FROM_CENTRE[inside]
        here, before = pixels[rows, columns], distance[rows, columns]
        painted, nearer = np.isfinite(before), offset < before
        overlap.add(here[painted], source[painted])
        here[nearer], before[nearer] = source[nearer], offset[nearer]
    return pixels, np.isfinite(distance)
