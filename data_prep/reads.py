"""Few large reads that bring the pixels of many windows, each block decoded once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from rasterio.windows import Window

from data_prep.pixels import PixelSource
from data_prep.stored import StoredBlocks

READ_LIMIT_PX = 16 * 2**20
"""Pixels of one read at most, unless a single window is larger."""
READ_WASTE = 3.0
"""A read may be this many times the windows it serves."""
MARGIN_PX = 3.0
"""Source pixels, per unit of scale, that the resampling filter may look at around a window."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels: left and top inside, right and bottom outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Pixels inside; 0 for an empty box."""
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def union(self, other: "Box") -> "Box":
        """Return the smallest box around both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def intersection(self, other: "Box") -> "Box":
        """Return the part that both share; its area is 0 where they share none."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def within(self, other: "Box") -> tuple[slice, slice]:
        """Return the slices of rows and columns that cut this box out of another's pixels."""
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )

    def window(self) -> Window:
        """Return the same rectangle as a rasterio window."""
        return Window(self.left, self.top, self.right - self.left, self.bottom - self.top)


@dataclass(frozen=True, slots=True)
class Read:
    """What one read brought for some windows: pixels (3, h, w) and valid (h, w) of a box."""

    box: Box
    pixels: np.ndarray
    valid: np.ndarray
    members: tuple[int, ...]
    """Numbers of the windows that it serves."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Windows served by one read."""

    box: Box
    members: tuple[int, ...]


def read_windows(
    source: PixelSource,
    windows: Sequence[Window],
    *,
    size_px: int,
    raster: Box,
    row_wise: bool,
    stored: StoredBlocks | None,
) -> list[Read]:
    """Read what the chips of windows are made of; windows where nothing is stored have no read.

    Args:
        source: Where the pixels come from.
        windows: Rectangles in pixels, fractions and places outside allowed.
        size_px: Side of a chip in pixels.
        raster: All pixels that there are.
        row_wise: True for files that are decoded from top to bottom: reads then never go back.
        stored: Which blocks are in the file; None where all are.
    """
    box = common_box(windows, size_px, raster)
    groups = (
        [_Group(box, tuple(range(len(windows))))]
        if box is not None
        else _groups(windows, size_px, raster, row_wise)
    )
    return [
        Read(group.box, *source.read(group.box.window()), group.members)
        for group in groups
        if stored is None or stored.any_in(group.box.window())
    ]


def common_box(windows: Sequence[Window], size_px: int, raster: Box) -> Box | None:
    """Return the box around windows of whole pixels if it is worth one read, as a grid's is."""
    sides = np.array([(w.col_off, w.row_off, w.width, w.height) for w in windows]).reshape(-1, 4)
    if not len(sides) or (sides[:, 2:] != size_px).any() or (sides % 1).any():
        return None
    places = sides[:, :2].astype(int)
    (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0) + size_px
    box = Box(int(left), int(top), int(right), int(bottom))
    wanted = len(windows) * size_px**2
    if box.intersection(raster) != box or box.area > min(READ_LIMIT_PX, READ_WASTE * wanted):
        return None
    return box


def is_whole(window: Window, size_px: int) -> bool:
    """Return whether a window is made of whole pixels, one for each of its chip."""
    return (
        window.width == window.height == size_px
        and float(window.col_off).is_integer()
        and float(window.row_off).is_integer()
    )


def footprint(window: Window, size_px: int) -> Box:
    """Return the pixels that a chip is made of, with what its filter looks at."""
    if is_whole(window, size_px):
        left, top = int(window.col_off), int(window.row_off)
        return Box(left, top, left + size_px, top + size_px)
    across = MARGIN_PX * max(1.0, window.width / size_px)
    down = MARGIN_PX * max(1.0, window.height / size_px)
    return Box(
        floor(window.col_off - across),
        floor(window.row_off - down),
        ceil(window.col_off + window.width + across),
        ceil(window.row_off + window.height + down),
    )


def _groups(
    windows: Sequence[Window], size_px: int, raster: Box, row_wise: bool
) -> Iterator[_Group]:
    """Yield runs of neighbouring windows whose common box is worth one read."""
    boxes = {
        number: box
        for number, window in enumerate(windows)
        if (box := footprint(window, size_px).intersection(raster)).area
    }
    members: list[int] = []
    around, wanted = Box(0, 0, 0, 0), 0
    for number in sorted(boxes, key=lambda number: _place(boxes[number], row_wise)):
        box = boxes[number]
        union = around.union(box) if members else box
        if members and union.area > min(READ_LIMIT_PX, READ_WASTE * (wanted + box.area)):
            yield _Group(around, tuple(members))
            members, union, wanted = [], box, 0
        members.append(number)
        around, wanted = union, wanted + box.area
    if members:
        yield _Group(around, tuple(members))


def _place(box: Box, row_wise: bool) -> tuple[int, ...]:
    """Order by squares of about 2048 pixels, then by row, so that neighbours come together."""
    if row_wise:
        return box.top, box.left
    return box.top // 2048, box.left // 2048, box.top // 256, box.left
