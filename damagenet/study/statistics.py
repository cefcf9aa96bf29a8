"""Means and paired differences over seeds, with the intervals that a family of comparisons asks.

Every variant is compared with the baseline, or with another one that it names, on the same seeds
by the paired t-test (Student 1908). The family of all comparisons of one split is held at 5 % by
Holm's step-down procedure (Holm 1979, Scand. J. Statist. 6:65-70): the smallest of m p-values is
multiplied by m, the next by m - 1 and so on, none below its predecessor.

The interval of the difference of rank k has the level at which Holm tested it,
1 - 0.05 / (m - k + 1); from the first comparison that fails, all later ones share its level.
So an interval leaves out zero exactly where Holm rejects. Where nothing is rejected, all have
Bonferroni's 1 - 0.05 / m and hold together with 95 %. Behind a rejection they are narrower than
that; `simultaneous` is Bonferroni's for all.

Two seeds often differ by the same few test tiles, and three or four sometimes: a spread of nothing
then is chance, and no word is given (p = 1).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import nct, t

from damagenet.config import Settings

Floats = npt.NDArray[np.float64]

ERROR_RATE = 0.05
"""Chance of one wrong claim or more in a family where nothing differs."""
POWER = 0.8
FEWEST_SEEDS = 3
"""With fewer seeds no difference counts."""
FEWEST_EQUAL_SEEDS = 5
"""With fewer seeds no difference counts where all seeds show the same one."""
SAME = 2e-6
"""Differences no farther apart are equal: the scores of a study are kept to six digits."""


class Range(Settings):
    """The two ends of an interval, `low` at most `high`."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within, the ends included."""
        return self.low <= value <= self.high

    def within(self, least: float, most: float) -> "Range":
        """Return the part of it that a value between two bounds can lie in."""
        return Range(low=max(self.low, least), high=min(self.high, most))


class Mean(Settings):
    """A mean over seeds with its 95 % t-interval."""

    n: int
    value: float
    interval: Range | None
    """None for a single seed."""


class Difference(Settings):
    """A variant minus what it is compared with, on the seeds that both have."""

    n: int
    mean: float
    deviation: float
    """Standard deviation of the differences."""
    p: float
    """Of the paired t-test, two-sided; 1 where the seeds are too few for a word."""
    p_holm: float
    """The same, adjusted for the family; below 0.05 it counts."""
    interval: Range
    """At Holm's level."""
    simultaneous: Range
    """At Bonferroni's level."""

    @property
    def counts(self) -> bool:
        """Whether the difference is more than chance in this family."""
        return self.p_holm <= ERROR_RATE

    @property
    def too_few_seeds(self) -> bool:
        """Whether no word is given, whatever the difference."""
        return _too_few(self.n, self.deviation)


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of scores of 0 to 1 over seeds; there must be one at least."""
    sample = np.asarray(values, np.float64)
    if sample.size < 2:
        return Mean(n=sample.size, value=float(sample.mean()), interval=None)
    mean, deviation = float(sample.mean()), float(sample.std(ddof=1))
    interval = _interval(mean, deviation, sample.size, error_rate=ERROR_RATE)
    return Mean(n=sample.size, value=mean, interval=interval.within(0, 1))


def holm(p: Sequence[float], *, family: int | None = None) -> list[float]:
    """Return Holm's adjusted p-values in the order of `p`.

    Args:
        p: The p-values that are known.
        family: Number of comparisons in all, at least as many; those that are not known yet
            count as certain to fail.
    """
    size = len(p) if family is None else family
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        largest = max(largest, min(1.0, (size - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def holm_levels(p: Sequence[float], *, family: int | None = None) -> list[float]:
    """Return for each comparison the error rate at which Holm's procedure tested it.

    The level rises while comparisons are rejected and stays where the first one is not.
    """
    size = len(p) if family is None else family
    levels = [0.0] * len(p)
    rejected = 0
    failed = False
    for place in sorted(range(len(p)), key=lambda at: p[at]):
        levels[place] = ERROR_RATE / (size - rejected)
        failed = failed or p[place] > levels[place]
        rejected += not failed
    return levels


def differences(
    pairs: Mapping[str, Sequence[float]], *, family: int | None = None
) -> dict[str, Difference]:
    """Judge the differences of a family of scores of 0 to 1.

    Args:
        pairs: Per variant its score minus the other's, seed by seed. Those with fewer than
            two seeds have no interval and are left out; those with too few for a word have one
            that holds zero.
        family: Number of comparisons in all, where some are not there yet.
    """
    known = {name: np.asarray(each, np.float64) for name, each in pairs.items() if len(each) > 1}
    size = max(len(known), family or 0)
    tests = [_p_value(each) for each in known.values()]
    adjusted = holm(tests, family=size)
    levels = holm_levels(tests, family=size)
    judged = {}
    for (name, each), p, p_holm, level in zip(known.items(), tests, adjusted, levels, strict=True):
        judged[name] = Difference(
            n=each.size,
            mean=float(each.mean()),
            deviation=float(each.std(ddof=1)),
            p=p,
            p_holm=p_holm,
            interval=_of_difference(each, error_rate=level),
            simultaneous=_of_difference(each, error_rate=ERROR_RATE / size),
        )
    return judged


def half_width(deviation: float, n: int, *, family: int) -> float:
    """Return the smallest difference that counts as the first of its family: t s / sqrt(n)."""
    return float(t.ppf(1 - ERROR_RATE / family / 2, n - 1)) * deviation / math.sqrt(n)


def findable(deviation: float, n: int, *, family: int) -> float:
    """Return the true difference that would be found with a chance of 80 %.

    By the noncentral t distribution, at the level of the first step of a family.

    Args:
        deviation: Standard deviation of the differences between seeds.
        n: Seeds, two or more.
        family: Number of comparisons.
    """
    threshold = float(t.ppf(1 - ERROR_RATE / family / 2, n - 1))

    def lacking(shift: float) -> float:
        return float(nct.sf(threshold, n - 1, shift)) - POWER

    # At a shift of thrice the threshold the chance is far above; at none far below.
    return float(brentq(lacking, 0.0, 3 * threshold + 10)) * deviation / math.sqrt(n)


def _too_few(n: int, deviation: float) -> bool:
    return n < (FEWEST_EQUAL_SEEDS if deviation <= SAME else FEWEST_SEEDS)


def _p_value(each: Floats) -> float:
    mean, deviation = float(each.mean()), float(each.std(ddof=1))
    if _too_few(each.size, deviation):
        return 1.0
    if deviation == 0:
        return 0.0 if mean else 1.0
    return float(2 * t.sf(abs(mean) / deviation * math.sqrt(each.size), each.size - 1))


def _of_difference(each: Floats, *, error_rate: float) -> Range:
    mean, deviation = float(each.mean()), float(each.std(ddof=1))
    too_few = _too_few(each.size, deviation)
    if too_few and deviation <= SAME:  # A few equal seeds say nothing of the spread.
        return Range(low=-1, high=1)
    found = _interval(mean, deviation, each.size, error_rate=error_rate).within(-1, 1)
    if not too_few:
        return found
    return Range(low=min(found.low, 0), high=max(found.high, 0))


def _interval(mean: float, deviation: float, n: int, *, error_rate: float) -> Range:
    half = float(t.ppf(1 - error_rate / 2, n - 1)) * deviation / math.sqrt(n)
    return Range(low=mean - half, high=mean + half)
