"""Before and after on the same buildings: scores, and the gain with its interval."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from damagenet.adapt.blocks import fold_of
from damagenet.adapt.report import Comparison
from damagenet.calibration import even_threshold, fit_calibration, probabilities
from damagenet.card import Card
from damagenet.evaluation.intervals import (
    MIN_BLOCKS,
    block_multiplicities,
    percentile_interval,
    why_no_interval,
)
from damagenet.evaluation.metrics import METRICS, Sample, blocks_holding, make_sample, measure
from damagenet.evaluation.scores import Estimate, score_sample

GAINS = ("recall", "false_alarm_rate", "balanced_accuracy", "auroc")
FOLDS = 5

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

CROSS_FITTED = (
    "calibration and threshold of each block come from the other blocks aside; AUROC is that of "
    "the logits"
)


def compare(before: Sample, after: Sample, *, seed: int, note: str = "") -> Comparison:
    """Score a model before and after on the same units in the same blocks.

    Args:
        before: With the verdicts before.
        after: With the verdicts after.
        seed: Seed of the bootstrap, which draws the same blocks for both.
        note: What a reader must know.
    """
    return Comparison(
        before=score_sample(before, seed=seed),
        after=score_sample(after, seed=seed),
        gain={metric: _gain(before, after, metric, seed) for metric in GAINS},
        note=note,
    )


def cross_fitted(logits: Floats, damaged: Bools, block: Rows) -> Sample:
    """Return the verdicts on labels aside, each with what the other blocks ask for.

    A threshold that is chosen on the labels it is scored on would flatter itself.

    Args:
        logits: Of the adapted network (N,).
        damaged: Truth (N,).
        block: Spatial blocks (N,).
    """
    labels = damaged.astype(np.int64)
    fold = fold_of(block, damaged, FOLDS)
    p = np.full(len(labels), np.nan)
    flagged = np.zeros(len(labels), bool)
    for number in range(FOLDS):
        here, others = fold == number, fold != number
        if len(np.unique(labels[others])) < 2:
            others = np.ones(len(labels), bool)
        calibration = fit_calibration(logits[others], labels[others], shrink=True)
        cut = even_threshold(logits[others], labels[others], calibration)
        p[here] = probabilities(logits[here], calibration)
        flagged[here] = p[here] >= cut
    return make_sample(p, labels, flagged=flagged, blocks=block)


def compare_aside(
    before: Floats,
    after: Floats,
    damaged: Bools,
    block: Rows,
    *,
    card: Card,
    seed: int,
    note: str = "",
) -> Comparison:
    """Score the labels aside: the base as it is used, the adapted network by other blocks' cuts.

    Args:
        before: Logits of the base (N,).
        after: Logits of the adapted network (N,).
        damaged: Truth (N,).
        block: Spatial blocks (N,).
        card: The base's, with its calibration and threshold.
        seed: Seed of the bootstrap.
        note: What else a reader must know.
    """
    p = probabilities(before, card.calibration)
    was = make_sample(p, damaged, flagged=p >= card.threshold, blocks=block)
    now = cross_fitted(after, damaged, block)
    found = compare(was, now, seed=seed, note="; ".join(filter(None, [CROSS_FITTED, note])))
    # Calibrations of different blocks would mix up the order.
    ranks = np.unique(after, return_inverse=True)[1]
    ordered = replace(now, p=ranks / max(1, ranks.max()))
    auroc = score_sample(ordered, seed=seed).auroc
    return found.model_copy(
        update={
            "after": found.after.model_copy(update={"auroc": auroc}),
            "gain": found.gain | {"auroc": _gain(was, ordered, "auroc", seed)},
        }
    )


def _each_its_own(sample: Sample) -> Sample:
    return replace(sample, block=np.arange(sample.p.size))


def _gain(before: Sample, after: Sample, metric: str, seed: int) -> Estimate:
    values = [measure(sample, metric) for sample in (before, after)]
    if values[0] is None or values[1] is None:
        return Estimate(value=None, n=before.p.size, note="one class only")
    gain = values[1] - values[0]
    note = ""
    if before.blocks < MIN_BLOCKS:
        note = f"{before.blocks} spatial blocks: units drawn one by one, too narrow where alike"
        before, after = _each_its_own(before), _each_its_own(after)
    elif (holding := blocks_holding(before, metric)) < MIN_BLOCKS:
        note = f"{holding} of {before.blocks} spatial blocks hold what it counts: too narrow"
    weights = block_multiplicities(before.blocks, seed=seed)
    draws = METRICS[metric](after, weights) - METRICS[metric](before, weights)
    interval = percentile_interval(draws, gain)
    return Estimate(
        value=gain,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=before.p.size,
        note=note if interval else why_no_interval(draws),
    )
