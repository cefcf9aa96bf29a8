"""What the report draws on the scene's picture: every unit, or bins where there are too many."""

from dataclasses import dataclass, field
from math import isnan

import numpy as np
import shapely
from numpy.typing import NDArray

from damagenet.outputs.batches import Batch, Geometries
from damagenet.outputs.style import COLOURS

MOST_MARKS = 20_000
"""Above so many units the picture shows bins."""
BINS_ACROSS = 96
"""Bins along the picture's longer side."""
SHOWN_ATTRIBUTES = 8
"""The caller's columns that are shown when a unit is pointed at."""
LONGEST_TEXT = 80

LABELS: tuple[str, ...] = tuple(COLOURS)


@dataclass(kw_only=True)
class UnitMarks:
    """Outlines, points and words of single units, column by column, ready for JSON."""

    scale: tuple[float, float]
    """Pixels of the picture per pixel of the scene, across and down."""
    attributes: tuple[str, ...]
    shapes: list[list[list[float]]] = field(default_factory=list)
    """Per unit its rings, each a flat list x, y, x, y ... in pixels of the picture."""
    columns: dict[str, list[object]] = field(default_factory=dict)

    def add(self, batch: Batch, placed: Geometries) -> None:
        """Add a batch, whose geometries are given in pixels of the scene."""
        self.shapes.extend(_rings(self._drawn(placed)))
        table = batch.table
        label = [LABELS.index(value) for value in table["label"].to_pylist()]
        self._extend("label", label)
        for name, digits in (("p_damaged", 3), ("lon", 6), ("lat", 6), ("valid_fraction", 2)):
            self._extend(name, _rounded(batch.numbers(name), digits))
        for name in ("unit_id", "reason", *self.attributes[:SHOWN_ATTRIBUTES]):
            self._extend(name, [_short(value) for value in table[name].to_pylist()])

    def data(self) -> dict[str, object]:
        """Return all that the page's script needs."""
        return {"form": "units", "shapes": self.shapes, "columns": self.columns}

    def _drawn(self, placed: Geometries) -> Geometries:
        scaled = shapely.transform(placed, lambda xy: xy * self.scale)
        simple: Geometries = shapely.simplify(scaled, 0.25)
        return simple

    def _extend(self, name: str, values: list[object] | list[int]) -> None:
        self.columns.setdefault(name, []).extend(values)


@dataclass(kw_only=True)
class BinMarks:
    """Units counted in squares of the picture."""

    scale: tuple[float, float]
    """Pixels of the picture per pixel of the scene, across and down."""
    side: float
    """Side of a bin in pixels of the picture."""
    shape: tuple[int, int]
    """Rows and columns of bins."""
    counts: NDArray[np.int64] = field(init=False)
    """Units by bin and label, shape (rows, columns, labels)."""
    sums: NDArray[np.float64] = field(init=False)
    """Sum of P(damaged) by bin."""

    def __post_init__(self) -> None:
        self.counts = np.zeros((*self.shape, len(LABELS)), dtype=np.int64)
        self.sums = np.zeros(self.shape)

    def add(self, batch: Batch, placed: Geometries) -> None:
        """Add a batch, whose geometries are given in pixels of the scene."""
        there = np.flatnonzero(~shapely.is_missing(placed))
        centres = shapely.get_coordinates(shapely.centroid(placed[there])) * self.scale / self.side
        column, row = np.clip(centres.astype(int), 0, (self.shape[1] - 1, self.shape[0] - 1)).T
        labels = batch.table["label"].to_pylist()
        label = np.array([LABELS.index(value) for value in labels], dtype=int)[there]
        np.add.at(self.counts, (row, column, label), 1)
        probability = np.nan_to_num(batch.numbers("p_damaged")[there])
        np.add.at(self.sums, (row, column), probability)

    def data(self) -> dict[str, object]:
        """Return all that the page's script needs: the bins that hold a unit."""
        row, column = np.nonzero(self.counts.sum(axis=2))
        counts = self.counts[row, column]
        judged = counts[:, :3].sum(axis=1)
        means = self.sums[row, column] / np.maximum(judged, 1)
        return {
            "form": "bins",
            "side": self.side,
            "column": column.tolist(),
            "row": row.tolist(),
            "counts": counts.tolist(),
            "mean": [
                round(mean, 3) if number else None
                for mean, number in zip(means.tolist(), judged.tolist(), strict=True)
            ],
        }


def make_marks(
    *, units: int, scale: tuple[float, float], picture: tuple[int, int], attributes: tuple[str, ...]
) -> UnitMarks | BinMarks:
    """Return an empty collection that suits the number of units.

    Args:
        units: Number of records.
        scale: Pixels of the picture per pixel of the scene, across and down.
        picture: Height and width of the picture in pixels.
        attributes: The caller's columns.
    """
    if units <= MOST_MARKS:
        return UnitMarks(scale=scale, attributes=attributes)
    side = max(picture) / BINS_ACROSS
    rows, columns = (int(np.ceil(extent / side)) for extent in picture)
    return BinMarks(scale=scale, side=side, shape=(rows, columns))


def _rings(shapes: Geometries) -> list[list[list[float]]]:
    """Return the rings, or the points, of each shape; none where there is no shape."""
    lines, owner = shapely.get_parts(shapes, return_index=True)
    if (shapely.get_dimensions(lines) > 0).any():
        lines, part = shapely.get_rings(lines, return_index=True)
        owner = owner[part]
    points, line = shapely.get_coordinates(lines, return_index=True)
    flat = np.round(points, 1).ravel().tolist()
    ends = 2 * np.cumsum(np.bincount(line, minlength=len(lines)))
    found: list[list[list[float]]] = [[] for _ in shapes]
    for shape, start, end in zip(owner.tolist(), [0, *ends.tolist()], ends.tolist(), strict=False):
        found[shape].append(flat[start:end])
    return found


def _rounded(values: NDArray[np.float64], digits: int) -> list[object]:
    return [None if isnan(value) else round(value, digits) for value in values.tolist()]


def _short(value: object) -> object:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
