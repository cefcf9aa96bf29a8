"""A block of ground in the pixels that chips have, put together from chips side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.engine.seen_chips import Sight
from data_prep.reads import Box

Mask = NDArray[np.bool_]
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundBlock:
    """What a block shows; H x W pixels, as large as those of chips.

    Attributes:
        box: Where it lies, in such pixels from the scene's north-west corner.
        images: uint8 (3, H, W) for each picture.
        shown: bool (H, W): where the scene has a picture.
        imagery: Where every picture has one.
        usable: Where nothing hides the ground besides.
    """

    box: Box
    images: tuple[NDArray[np.uint8], ...]
    shown: Mask
    imagery: Mask
    usable: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowGrid:
    """Windows in rows and columns, in pixels of chips from the scene's north-west corner.

    Attributes:
        tops: Where R rows begin.
        lefts: Where K columns begin.
        side: Of every window, S.
    """

    tops: tuple[float, ...]
    lefts: tuple[float, ...]
    side: int

    @classmethod
    def of(cls, windows: Sequence[Window], side: int) -> "WindowGrid":
        """Return the grid that windows of one size make, given row by row."""
        first = windows[0]
        across, down = first.width / side, first.height / side
        columns = sum(window.row_off == first.row_off for window in windows)
        return cls(
            tops=tuple(window.row_off / down for window in windows[::columns]),
            lefts=tuple(window.col_off / across for window in windows[:columns]),
            side=side,
        )

    def box(self, halo: int, step: int) -> Box:
        """Return the box around all windows and a halo, of sides and corners on steps."""
        return Box(
            floor((self.lefts[0] - halo) / step) * step,
            floor((self.tops[0] - halo) / step) * step,
            ceil((self.lefts[-1] + self.side + halo) / step) * step,
            ceil((self.tops[-1] + self.side + halo) / step) * step,
        )

    def only(self, rows: slice, columns: slice) -> "WindowGrid":
        """Return some of the rows and columns."""
        return WindowGrid(tops=self.tops[rows], lefts=self.lefts[columns], side=self.side)

    def shares(self, mask: Mask, box: Box) -> NDArray[np.float64]:
        """Return the share of each window that is true in the mask of a box, float64 (R, K)."""
        if mask.all():
            return np.ones((len(self.tops), len(self.lefts)))
        down = _covered(np.array(self.tops) - box.top, self.side, mask.shape[0])
        across = _covered(np.array(self.lefts) - box.left, self.side, mask.shape[1])
        counts = down @ mask.astype(np.float32) @ across.T
        # The parts of pixels that a window begins and ends in add up to 1 but for a last bit.
        shares = np.asarray(counts, np.float64) / self.side**2
        return np.where(shares > 1 - 1e-6, 1.0, shares)


def read_block(sight: Sight, box: Box, chip: Window, side: int) -> GroundBlock:
    """Read a box of ground.

    Args:
        sight: What is read, and what hides it.
        box: In pixels of chips.
        chip: Any window of the scene: all have its width and height.
        side: Of a chip in pixels.

    Raises:
        SceneError: If a file turns out to be damaged there.
        FootprintError: If the excluded ground cannot be laid over the scene.
    """
    rows = range(floor(box.top / side), ceil(box.bottom / side))
    columns = range(floor(box.left / side), ceil(box.right / side))
    windows = [
        Window(column * chip.width, row * chip.height, chip.width, chip.height)
        for row in rows
        for column in columns
    ]
    chips, usable = sight.read(windows, size_px=side)
    around = Box(columns.start * side, rows.start * side, columns.stop * side, rows.stop * side)
    down, across = box.within(around)

    def joined(values: NDArray[Value]) -> NDArray[Value]:
        """Join (N, S, S) or (N, 3, S, S) to (1 or 3, H, W)."""
        tiles = values.reshape(len(rows), len(columns), -1, side, side).transpose(2, 0, 3, 1, 4)
        whole = tiles.reshape(-1, len(rows) * side, len(columns) * side)
        return np.ascontiguousarray(whole[:, down, across])

    imagery = joined(chips.valid)[0]
    scene_valid = chips.scene_valid
    return GroundBlock(
        box=box,
        images=tuple(joined(image) for image in chips.images),
        shown=imagery if scene_valid is None else joined(scene_valid)[0],
        imagery=imagery,
        usable=imagery if usable is chips.valid else joined(usable)[0],
    )


def _covered(begins: NDArray[np.float64], length: int, pixels: int) -> NDArray[np.float32]:
    """Return how much of each pixel lies in each interval of that length, 0..1, (N, pixels)."""
    place = np.arange(pixels)
    ends = np.minimum(place + 1, begins[:, None] + length)
    covered = ends - np.maximum(place, begins[:, None])
    return np.asarray(np.clip(covered, 0, 1), np.float32)
