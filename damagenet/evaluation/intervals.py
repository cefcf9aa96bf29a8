"""95 % intervals: bootstrap over spatial blocks, and exact binomial where blocks are too few.

Neighbouring tiles share ground, light and flood, so a bootstrap over tiles would claim far too
much. Whole blocks are drawn instead, and the percentile interval of the draws is taken (Efron and
Tibshirani 1993, chapter 13). BCa was left out: its acceleration comes from a jackknife over
blocks, which is unstable with the few tens of blocks of one region, and it has no answer where
all draws lie on one side of the estimate.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from damagenet.errors import EvaluationError

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
MIN_BLOCKS = 10
"""With fewer blocks a bootstrap over blocks says nothing of what another storm would give."""

SAME = 1e-9
"""Draws no farther apart differ by rounding alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The two ends of a 95 % interval, `low` at most `high`."""

    low: float
    high: float


def block_multiplicities(blocks: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Draw blocks with replacement, as often as there are blocks.

    Args:
        blocks: Number of blocks B.
        resamples: Number of draws R.
        seed: Seed of the draws; equal seeds give equal intervals.

    Returns:
        How often each block was drawn, float64 (R, B); every row adds up to B.
    """
    draws = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), resamples)
    return draws.astype(np.float64)


def percentile_interval(draws: Floats, point: float) -> Interval | None:
    """Return the central 95 % of the draws, stretched to hold the point estimate.

    Args:
        draws: The metric in every resample (R,); NaN where a resample held one class only.
        point: The metric on all data.

    Returns:
        The interval, or None where more than one resample in ten had no value, or all have the
        same one: an interval of no width would say that nothing is uncertain.
    """
    usable = draws[np.isfinite(draws)]
    if _too_few(usable, draws) or np.ptp(usable) < SAME:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(usable, [tail, 1 - tail])
    return Interval(low=min(float(low), point), high=max(float(high), point))


def why_no_interval(draws: Floats) -> str:
    """Return in words why `percentile_interval` gives none for these draws."""
    if _too_few(draws[np.isfinite(draws)], draws):
        return "too few blocks hold both classes for an interval"
    return "all draws of blocks give the same value, which is no interval"


def _too_few(usable: Floats, draws: Floats) -> bool:
    return usable.size < 0.9 * draws.size


def binomial_interval(successes: int, trials: int) -> Interval:
    """Return the exact interval of a share (Clopper and Pearson 1934).

    It takes the trials as independent, so for neighbouring buildings it is too narrow.

    Raises:
        EvaluationError: If there is no trial, or not 0 <= successes <= trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise EvaluationError(f"a share needs 0 <= k <= n and n >= 1, got {successes} of {trials}")
    # A second to import, which the service and `--help` can do without.
    from scipy.stats import binomtest

    exact = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return Interval(low=float(exact.low), high=float(exact.high))
