"""Scores of probabilities against labels, each with its 95 % interval."""

import numpy as np
import numpy.typing as npt

from damagenet.config import Settings
from damagenet.errors import EvaluationError
from damagenet.evaluation.intervals import (
    MIN_BLOCKS,
    RESAMPLES,
    Interval,
    binomial_interval,
    block_multiplicities,
    percentile_interval,
    why_no_interval,
)
from damagenet.evaluation.metrics import (
    METRICS,
    Floats,
    Sample,
    blocks_holding,
    equal_mass_bins,
    make_sample,
    measure,
)


class Estimate(Settings):
    """One score: its value, its interval and what it rests on."""

    value: float | None
    """None where the score does not exist; the note says why."""
    low: float | None = None
    """Lower end of the 95 % interval; None where none can be given."""
    high: float | None = None
    n: int
    """Number of tiles or buildings behind the figure."""
    note: str = ""


class Confusion(Settings):
    """How many of which class were called what."""

    damaged_found: int
    damaged_missed: int
    undamaged_flagged: int
    undamaged_kept: int


class Scores(Settings):
    """All scores of one set of tiles or buildings at one threshold."""

    n: int
    damaged: int
    undamaged: int
    blocks: int
    """Number of spatial blocks; a metric whose units lie in fewer than 10 has no bootstrap."""
    confusion: Confusion
    accuracy: Estimate
    always_damaged_accuracy: float | None
    """Accuracy of answering "damaged" to everything: the baseline."""
    balanced_accuracy: Estimate
    auroc: Estimate
    brier: Estimate
    calibration_error: Estimate
    calibration_limit: float | None = None
    """What the calibration error stays below in 95 % of draws where labels are drawn with these
    very probabilities: few units show an error even where there is none."""
    recall: Estimate
    false_alarm_rate: Estimate
    precision: Estimate

    def estimate(self, metric: str) -> Estimate:
        """Return one score by its name, one of METRICS.

        Raises:
            EvaluationError: If the name is no metric.
        """
        found = getattr(self, metric)
        if not isinstance(found, Estimate):
            raise EvaluationError(f"unknown metric {metric!r}; choose one of: {', '.join(METRICS)}")
        return found


LIMIT_DRAWS = 500
SHARES = ("accuracy", "recall", "false_alarm_rate", "precision")
"""Metrics that are k of n, for which an exact binomial interval exists."""
HOLD_IT = "spatial blocks hold what it counts"
TOO_NARROW = "exact binomial interval, too narrow where neighbours are alike"


def score(
    p: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    threshold: float,
    blocks: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score probabilities against labels at one threshold.

    Args:
        p: Probabilities of damage (N,), 0..1.
        labels: 1 where damaged in truth, else 0 (N,).
        threshold: Probability from which a unit counts as damaged, 0..1.
        blocks: Spatial block of every unit (N,), any values.
        groups: Scene of every unit (N,); AUROC then counts pairs inside one scene only.
        resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Raises:
        EvaluationError: If there is nothing to score, or a value is out of its range.
    """
    if not 0 <= threshold <= 1:
        raise EvaluationError(f"the threshold must be within 0..1, got {threshold}")
    flagged = np.asarray(p, dtype=np.float64) >= threshold
    sample = make_sample(p, labels, flagged=flagged, blocks=blocks, groups=groups)
    return score_sample(sample, resamples=resamples, seed=seed)


def score_sample(sample: Sample, *, resamples: int = RESAMPLES, seed: int = 0) -> Scores:
    """Score a sample whose verdicts are already made; see `score`."""
    weights = None
    if sample.blocks >= MIN_BLOCKS:
        weights = block_multiplicities(sample.blocks, resamples=resamples, seed=seed)
    found, missed, flagged, kept = (int(count) for count in sample.cells.sum(axis=0))
    decided = found + missed + flagged + kept
    return Scores(
        n=sample.p.size,
        damaged=int(sample.labels.sum()),
        undamaged=int((~sample.labels).sum()),
        blocks=sample.blocks,
        confusion=Confusion(
            damaged_found=found,
            damaged_missed=missed,
            undamaged_flagged=flagged,
            undamaged_kept=kept,
        ),
        always_damaged_accuracy=(found + missed) / decided if decided else None,
        calibration_limit=calibration_limit(sample.p, seed=seed),
        **{metric: _estimate(sample, metric, weights) for metric in METRICS},
    )


def calibration_limit(p: Floats, *, seed: int = 0) -> float:
    """Return the 95th percentile of the calibration error of labels drawn with probability `p`.

    Args:
        p: Probabilities of damage (N,), 0..1.
        seed: Seed of the draws.
    """
    bins = equal_mass_bins(p)
    rng = np.random.default_rng(seed)
    errors = np.empty(LIMIT_DRAWS)
    for draw in range(LIMIT_DRAWS):
        gaps = np.bincount(bins, weights=p - (rng.random(p.size) < p))
        errors[draw] = np.abs(gaps).sum() / p.size
    return float(np.quantile(errors, 0.95))


def _estimate(sample: Sample, metric: str, weights: Floats | None) -> Estimate:
    value = measure(sample, metric)
    trials = _counts(sample, metric)[1]
    if value is None:
        return Estimate(value=None, n=trials, note=_why_missing(sample, metric))
    interval, note = _interval(sample, metric, weights, value)
    return Estimate(
        value=value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=trials,
        note=note,
    )


def _interval(
    sample: Sample, metric: str, weights: Floats | None, value: float
) -> tuple[Interval | None, str]:
    """Choose the interval that can be given, and say where it is not the bootstrap."""
    if metric == "calibration_error":
        # Chance only adds to it, so that the draws lie above the truth.
        return None, "no interval, as chance can only add to it: see calibration_limit"
    few = _too_few_blocks(sample, metric)
    if metric in SHARES and (few or _all_equal(sample, metric)):
        # A bootstrap of nothing but equal outcomes has no width, which would be a lie.
        note = f"{few or 'all outcomes equal'}: {TOO_NARROW}"
        return binomial_interval(*_counts(sample, metric)), note
    if weights is None or few:
        return None, f"{few}: too few for an interval"
    if metric == "balanced_accuracy":
        equal = [one for one in ("recall", "false_alarm_rate") if _all_equal(sample, one)]
        if equal:
            return _joined(sample), f"all outcomes equal ({', '.join(equal)}): {TOO_NARROW}"
    draws = METRICS[metric](sample, weights)
    interval = percentile_interval(draws, value)
    if interval is None and metric in SHARES:
        return binomial_interval(*_counts(sample, metric)), f"all blocks are alike: {TOO_NARROW}"
    return interval, "" if interval else why_no_interval(draws)


def _too_few_blocks(sample: Sample, metric: str) -> str:
    """Say how few blocks hold what a metric counts; nothing where they are enough."""
    holding = blocks_holding(sample, metric)
    if holding >= MIN_BLOCKS:
        return ""
    if sample.blocks < MIN_BLOCKS:
        return f"{sample.blocks} spatial block{'s' if sample.blocks > 1 else ''}"
    return f"{holding} of {sample.blocks} {HOLD_IT}"


def _all_equal(sample: Sample, share: str) -> bool:
    successes, trials = _counts(sample, share)
    return successes in (0, trials)


def _joined(sample: Sample) -> Interval:
    """Return what balanced accuracy can be within the exact limits of both its shares."""
    recall, alarms = (
        binomial_interval(*_counts(sample, share)) for share in ("recall", "false_alarm_rate")
    )
    return Interval(low=(recall.low + 1 - alarms.high) / 2, high=(recall.high + 1 - alarms.low) / 2)


def _counts(sample: Sample, metric: str) -> tuple[int, int]:
    """Successes and trials of a share; for other metrics the trials alone have a meaning."""
    found, missed, flagged, kept = (int(count) for count in sample.cells.sum(axis=0))
    return {
        "accuracy": (found + kept, found + missed + flagged + kept),
        "balanced_accuracy": (0, found + missed + flagged + kept),
        "recall": (found, found + missed),
        "false_alarm_rate": (flagged, flagged + kept),
        "precision": (found, found + flagged),
    }.get(metric, (0, sample.p.size))


def _why_missing(sample: Sample, metric: str) -> str:
    found, missed, flagged, kept = sample.cells.sum(axis=0)
    if not sample.decided.any():
        return "no unit has a verdict"
    if metric == "precision":
        return "nothing was called damaged"
    if found + missed == 0 or not sample.labels.any():
        return "no damaged unit"
    if flagged + kept == 0 or sample.labels.all():
        return "no undamaged unit"
    return "no scene holds both classes"
