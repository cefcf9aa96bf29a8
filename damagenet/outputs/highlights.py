"""What stands out among the records: the surest and the least sure units, and how p is spread."""

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from damagenet.outputs.batches import Batch, Geometries

SHOWN = 8
"""Units per row of thumbnails."""
LISTED = 25
"""Units in the table of the most likely damaged."""
HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """One unit worth showing."""

    unit_id: str
    label: str
    probability: float
    lon: float | None
    lat: float | None
    col: float
    """Column of its centre in pixels of the scene."""
    row: float
    rank: float
    """Order among its like: the smallest stands first."""


@dataclass(kw_only=True)
class Highlights:
    """Collects what stands out, batch by batch, without holding the rest."""

    threshold: float
    damaged: list[Highlight] = field(default_factory=list)
    """Highest probability first."""
    undamaged: list[Highlight] = field(default_factory=list)
    """Lowest probability first."""
    unsure: list[Highlight] = field(default_factory=list)
    """Nearest to the threshold first."""
    histogram: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(HISTOGRAM_BINS, dtype=np.int64)
    )
    """Judged units by P(damaged), in equal steps from 0 to 1."""

    def add(self, batch: Batch, placed: Geometries) -> None:
        """Look through a batch, whose geometries are given in pixels of the scene."""
        probability = batch.numbers("p_damaged")
        label = batch.table["label"].to_numpy(zero_copy_only=False)
        judged = np.isfinite(probability)
        self.histogram += np.histogram(probability[judged], bins=HISTOGRAM_BINS, range=(0, 1))[0]
        seen = judged & ~shapely.is_missing(placed)
        damaged, undamaged = seen & (label == "damaged"), seen & (label == "undamaged")
        doubt = np.abs(probability - self.threshold)
        self.damaged = _best(self.damaged, _first(batch, placed, -probability, damaged))
        self.undamaged = _best(self.undamaged, _first(batch, placed, probability, undamaged))
        self.unsure = _best(self.unsure, _first(batch, placed, doubt, seen))


def _best(kept: list[Highlight], found: list[Highlight]) -> list[Highlight]:
    """Return the first of both by rank; equals stay in the order of the records."""
    return sorted([*kept, *found], key=lambda one: one.rank)[:LISTED]


def _first(
    batch: Batch,
    placed: Geometries,
    rank: NDArray[np.float64],
    candidates: NDArray[np.bool_],
) -> list[Highlight]:
    """Return the candidates of one batch that may be shown."""
    index = np.flatnonzero(candidates)
    return _highlights(batch, placed, rank, index[np.argsort(rank[index], kind="stable")[:LISTED]])


def _highlights(
    batch: Batch, placed: Geometries, rank: NDArray[np.float64], index: NDArray[np.int64]
) -> list[Highlight]:
    centres = shapely.get_coordinates(shapely.centroid(placed[index])).tolist()
    rows = batch.table.take(index).to_pylist()
    return [
        Highlight(
            unit_id=row["unit_id"],
            label=row["label"],
            probability=row["p_damaged"],
            lon=row["lon"],
            lat=row["lat"],
            col=col,
            row=line,
            rank=order,
        )
        for row, (col, line), order in zip(rows, centres, rank[index].tolist(), strict=True)
    ]
