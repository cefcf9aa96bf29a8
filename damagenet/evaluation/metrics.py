"""The formulas of all scores, over weighted spatial blocks.

Every metric is written once, over weights: a row of ones gives the score itself, a row per
bootstrap draw (how often each spatial block was drawn) gives its interval.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from damagenet.errors import EvaluationError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

CALIBRATION_BINS = 15
CHUNK_ELEMENTS = 4_000_000
"""Resamples are taken in runs of at most so many weights, which bounds memory to tens of MB."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is scored; all arrays have one entry per tile or building (N,).

    Attributes:
        p: Probability of damage, 0..1.
        labels: True where damaged in truth.
        flagged: True where the verdict is damaged.
        decided: True where there is a verdict; False leaves a unit out of the confusion matrix
            and of all that follows from it, not out of AUROC, Brier and calibration error.
        block: Index of the spatial block, 0..B-1.
        group: Index of the scene, 0..G-1; AUROC counts pairs inside one group only.
    """

    p: Floats
    labels: Bools
    flagged: Bools
    decided: Bools
    block: Indices
    group: Indices

    @property
    def blocks(self) -> int:
        """Number of spatial blocks B."""
        return int(self.block.max()) + 1

    @cached_property
    def cells(self) -> Floats:
        """Found, missed, flagged and kept per block, float64 (B, 4)."""
        masks = (
            self.labels & self.flagged,
            self.labels & ~self.flagged,
            ~self.labels & self.flagged,
            ~self.labels & ~self.flagged,
        )
        return np.stack([self.per_block(mask & self.decided) for mask in masks], axis=1)

    @cached_property
    def gaps(self) -> Floats:
        """Sum of probability minus label per block and calibration bin, float64 (B, bins)."""
        bins = equal_mass_bins(self.p)
        gaps = np.zeros((self.blocks, CALIBRATION_BINS))
        np.add.at(gaps, (self.block, bins), self.p - self.labels)
        return gaps

    @cached_property
    def squared_errors(self) -> Floats:
        """Sum of squared errors per block, float64 (B,)."""
        return self.per_block((self.p - self.labels) ** 2)

    @cached_property
    def sizes(self) -> Floats:
        """Number of units per block, float64 (B,)."""
        return self.per_block(np.ones_like(self.p))

    def per_block(self, values: npt.NDArray[np.generic]) -> Floats:
        """Return the sum of one value per unit (N,) over each block, float64 (B,)."""
        summed = np.bincount(self.block, weights=values, minlength=self.blocks)
        return summed.astype(np.float64)


def make_sample(
    p: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    flagged: npt.ArrayLike,
    decided: npt.ArrayLike | None = None,
    blocks: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> Sample:
    """Check the arrays, each (N,), and number the blocks and groups.

    Args:
        p: Probability of damage.
        labels: 1 or True where damaged in truth.
        flagged: True where the verdict is damaged.
        decided: False where there is no verdict; without it all have one.
        blocks: Any values, equal inside a spatial block; without them each unit is its own.
        groups: Any values, equal inside a scene; without them all are one scene.

    Raises:
        EvaluationError: If there is nothing to score, the lengths differ, a probability is not
            within 0..1 or a label is neither 0 nor 1.
    """
    probabilities = np.asarray(p, dtype=np.float64)
    if probabilities.size == 0:
        raise EvaluationError("nothing to score: 0 tiles or buildings; check what was selected")
    n = probabilities.shape[0]
    outside = ~((probabilities >= 0) & (probabilities <= 1))  # True for NaN too
    if outside.any():
        worst = probabilities[outside][0]
        raise EvaluationError(f"probabilities must be within 0..1, got {worst} ({outside.sum()}x)")
    truth = np.asarray(labels)
    strange = truth[~np.isin(truth, (0, 1))]
    if strange.size:
        raise EvaluationError(f"labels must be 0 (undamaged) or 1 (damaged), got {strange[0]}")
    columns = {
        "labels": truth.astype(bool),
        "flagged": np.asarray(flagged, dtype=bool),
        "decided": np.ones(n, bool) if decided is None else np.asarray(decided, dtype=bool),
        "block": np.arange(n) if blocks is None else _numbered(blocks),
        "group": np.zeros(n, np.intp) if groups is None else _numbered(groups),
    }
    for name, column in columns.items():
        if column.shape != (n,):
            raise EvaluationError(f"{name} has shape {column.shape}, probabilities have ({n},)")
    return Sample(p=probabilities, **columns)


def _numbered(values: npt.ArrayLike) -> Indices:
    return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.intp)


def equal_mass_bins(p: Floats) -> Indices:
    """Return the calibration bin, 0..14, of every probability.

    Bins are cut at the quantiles and equal probabilities share a bin, so that the order of the
    data does not matter; with many ties some bins are larger and some empty.
    """
    edges = np.quantile(p, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1])
    return np.searchsorted(edges, p, side="right").astype(np.intp)


def _accuracy(sample: Sample, weights: Floats) -> Floats:
    found, missed, flagged, kept = (weights @ sample.cells).T
    return _share(found + kept, found + missed + flagged + kept)


def _recall(sample: Sample, weights: Floats) -> Floats:
    found, missed, _, _ = (weights @ sample.cells).T
    return _share(found, found + missed)


def _false_alarm_rate(sample: Sample, weights: Floats) -> Floats:
    _, _, flagged, kept = (weights @ sample.cells).T
    return _share(flagged, flagged + kept)


def _precision(sample: Sample, weights: Floats) -> Floats:
    found, _, flagged, _ = (weights @ sample.cells).T
    return _share(found, found + flagged)


def _balanced_accuracy(sample: Sample, weights: Floats) -> Floats:
    return (_recall(sample, weights) + 1 - _false_alarm_rate(sample, weights)) / 2


def _brier(sample: Sample, weights: Floats) -> Floats:
    return _share(weights @ sample.squared_errors, weights @ sample.sizes)


def _calibration_error(sample: Sample, weights: Floats) -> Floats:
    """Naeini et al. 2015, with the bins of the whole sample in every resample."""
    return _share(np.abs(weights @ sample.gaps).sum(axis=1), weights @ sample.sizes)


def _auroc(sample: Sample, weights: Floats) -> Floats:
    """Share of pairs in the right order, ties counting half (Mann and Whitney 1947)."""
    won, pairs = np.zeros((2, len(weights)))
    for group in range(int(sample.group.max()) + 1):
        inside = np.flatnonzero(sample.group == group)
        order = inside[np.argsort(sample.p[inside], kind="stable")]
        rows = max(1, CHUNK_ELEMENTS // max(1, order.size))
        for start in range(0, len(weights), rows):
            chunk = slice(start, start + rows)
            here_won, here_pairs = _ordered_pairs(sample, order, weights[chunk])
            won[chunk] += here_won
            pairs[chunk] += here_pairs
    return _share(won, pairs)


def _ordered_pairs(sample: Sample, order: Indices, weights: Floats) -> tuple[Floats, Floats]:
    """Count weighted pairs in the right order, and all pairs, per row of weights."""
    _, starts = np.unique(sample.p[order], return_index=True)
    each = weights[:, sample.block[order]]  # (R, N)
    damaged = sample.labels[order]
    positive = np.add.reduceat(each * damaged, starts, axis=1)  # (R, distinct p)
    negative = np.add.reduceat(each * ~damaged, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    return (positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


METRICS: dict[str, Callable[[Sample, Floats], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "auroc": _auroc,
    "brier": _brier,
    "calibration_error": _calibration_error,
    "recall": _recall,
    "false_alarm_rate": _false_alarm_rate,
    "precision": _precision,
}
"""Each metric over weights (R, B) gives one value per row (R,), NaN where it does not exist."""


def blocks_holding(sample: Sample, metric: str) -> int:
    """Return how many spatial blocks hold what a metric counts; of two classes the smaller number.

    Only these vary a bootstrap over blocks: others add nothing, however many they are.

    Args:
        sample: What is scored.
        metric: One of METRICS.
    """
    found, missed, flagged, kept = sample.cells.T
    damaged, undamaged = found + missed, flagged + kept
    counted = {
        "accuracy": (damaged + undamaged,),
        "balanced_accuracy": (damaged, undamaged),
        "auroc": _ranked(sample),
        "recall": (damaged,),
        "false_alarm_rate": (undamaged,),
        "precision": (found + flagged,),
    }.get(metric, (sample.sizes,))
    return min(int((each > 0).sum()) for each in counted)


def _ranked(sample: Sample) -> tuple[Floats, Floats]:
    """Count damaged and undamaged units per block, of the scenes that hold both."""
    damaged = np.bincount(sample.group, weights=sample.labels)
    both = (damaged > 0) & (damaged < np.bincount(sample.group))
    ranked = both[sample.group]
    return sample.per_block(sample.labels & ranked), sample.per_block(~sample.labels & ranked)


def measure(sample: Sample, metric: str) -> float | None:
    """Return one metric of a sample, or None where it does not exist (one class only)."""
    value = float(METRICS[metric](sample, np.ones((1, sample.blocks)))[0])
    return value if np.isfinite(value) else None
