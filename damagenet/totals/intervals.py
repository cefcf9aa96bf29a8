"""How many units are damaged among those without a label: a 95 % interval from random labels.

Units are sorted into strata by verdict. Of a stratum, n labels were drawn at random, x of them
damaged, and r units have no label. For one stratum the answer is exact: the largest number of
damaged units that x of n does not refute (Clopper and Pearson 1934, for a finite population) is a
quantile of the beta-binomial distribution with the shapes x + 1 and n - x, and the smallest one
with x and n - x + 1 (Thatcher 1964, J. R. Statist. Soc. B 26:176-192): the sample is an urn from
which the rest is drawn (Polya), with one more unit in it that tells against the limit.

For a sum over strata each urn is filled as sampled, and only the stratum in which one unit more
moves the total most gets that unit. This is the gamma interval for weighted sums of Fay and Feuer
(1997, Statist. Med. 16:791-801), moved from Poisson counts to urns; as there, the distribution of
the sum is taken to be of one family (here beta) with the sum's mean and variance, the variance of
an urn as sampled being the unbiased one.

With fewer than 8 labels in all, every urn gets that unit: two strata with one label each show
nothing of what varies, and one unit more in one of them covers 84 % and not 95.

With few damaged labels the limits stand at 2.5 % each, which keeps 95 % or more. From 20 damaged
and 4 undamaged labels on, where that would be wider than needed, both distributions are mixed
half and half: the mid-P version of Fay and Kim (2017, Biom. J. 59:549-567).

Of a stratum without labels nothing is known: its units may all be damaged or none.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv

from damagenet.errors import EvaluationError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TAIL = 0.025
MID_DAMAGED = 20
"""Damaged labels from which on the mid-P limits hold; see DESIGN.md, Tried."""
MID_UNDAMAGED = 4
FEW_LABELS = 8
"""Labels below which every urn gets one unit more; see DESIGN.md, Tried."""
BISECTIONS = 20
_LEAST_SHAPE = 1e-2
"""Below it both shapes of a beta distribution put all weight on its ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Counts of damaged units with 95 % intervals; whole numbers but the estimate, each (A,)."""

    estimate: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beta:
    """Beta distributions on 0..size with a given mean and variance, each (A,)."""

    size: Floats
    mean: Floats
    variance: Floats

    @property
    def _shapes(self) -> tuple[Floats, Floats]:
        size = np.maximum(self.size, 1)
        share = np.clip(self.mean / size, 0, 1)
        # A point has no variance; what its shapes are does not matter, see `_certain`.
        scaled = np.maximum(self.variance / size**2, 1e-15)
        total = np.maximum(share * (1 - share) / scaled - 1, _LEAST_SHAPE)
        return np.maximum(share * total, 1e-12), np.maximum((1 - share) * total, 1e-12)

    @property
    def _certain(self) -> Bools:
        certain: Bools = self.variance <= 1e-9
        return certain

    def quantile(self, probability: float) -> Floats:
        """Return the value that is not exceeded with this probability (A,)."""
        inside = self.size * betaincinv(*self._shapes, probability)
        return np.where(self._certain, self.mean, inside)

    def below(self, values: Floats) -> Floats:
        """Return the probability of at most these values (A,)."""
        inside = betainc(*self._shapes, np.clip(values / np.maximum(self.size, 1), 0, 1))
        return np.where(self._certain, values >= self.mean, inside)


def damaged_among(
    rest: npt.ArrayLike, labelled: npt.ArrayLike, damaged: npt.ArrayLike
) -> Intervals:
    """Return how many of the units without a label are damaged, for A areas at a time.

    The units without a label and the labelled ones of a stratum must be alike but for chance: so
    they are where labels were drawn at random from all of them, and in a part of the whole where
    the damaged share given the verdict is the same in all parts.

    Args:
        rest: Units without a random label, by area and stratum (A, H).
        labelled: Random labels of each stratum (A, H) or (H,).
        damaged: Those of them that are damaged.

    Raises:
        EvaluationError: If not 0 <= damaged <= labelled, or a count is negative.
    """
    r, n, x = (
        np.atleast_2d(np.asarray(counts, np.float64)) for counts in (rest, labelled, damaged)
    )
    if (r < 0).any() or (x < 0).any() or (x > n).any():
        raise EvaluationError("strata need 0 <= damaged <= labelled, and no negative count")
    r, n, x = np.broadcast_arrays(r, n, x)
    estimate = _estimate(r, n, x)
    open_units = np.where(n > 0, 0.0, r).sum(axis=1)
    r = np.where(n > 0, r, 0.0)
    lower, upper = _urns(r, n, x, damaged=False), _urns(r, n, x, damaged=True)
    low, high = lower.quantile(TAIL), upper.quantile(1 - TAIL)
    weight = np.divide(r, n, out=np.zeros_like(r), where=n > 0)
    many, some = effective(weight, x) >= MID_DAMAGED, effective(weight, n - x) >= MID_UNDAMAGED
    low, high = _mid_limits(lower, upper, low, high, where=many & some)
    # To the nearest whole number: a count y stands for y - 0.5 to y + 0.5 of the beta.
    low, high = np.floor(low + 0.5), np.ceil(high - 0.5) + open_units
    return Intervals(
        estimate=estimate,
        low=np.minimum(low, np.floor(estimate)),
        high=np.maximum(high, np.ceil(estimate)),
    )


def effective(weight: Floats, counts: Floats) -> Floats:
    """Return how many equally weighted labels would be as uncertain in sum (Kish 1965), (A,).

    Many labels of a stratum that hardly matters must not hide that few of a large one were drawn.

    Args:
        weight: Units that one label of each stratum stands for (A, H).
        counts: Labels of each stratum (A, H).
    """
    squares = (weight**2 * counts).sum(axis=1)
    total = (weight * counts).sum(axis=1)
    count: Floats = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    return count


def _estimate(r: Floats, n: Floats, x: Floats) -> Floats:
    """Return the rest times the damaged share of its stratum, or of all labels where it has none.

    The post-stratified estimator (Holt and Smith 1979); for verdicts it is the prediction-powered
    one (Angelopoulos et al. 2023) with a correction per verdict.
    """
    every = n.sum(axis=1, keepdims=True)
    pooled = np.divide(
        x.sum(axis=1, keepdims=True), every, out=np.full_like(every, 0.5), where=every > 0
    )
    share = np.where(n > 0, x / np.maximum(n, 1), pooled)
    return np.asarray((r * share).sum(axis=1))


def _urns(r: Floats, n: Floats, x: Floats, *, damaged: bool) -> _Beta:
    """Return the sum over the urns with one more unit in the one where it moves the sum most.

    With few labels each urn with a label gets one.
    """
    kind = n - x if damaged else x
    # The second term decides between urns that hold one kind only.
    moved = r * (kind + 1e-9) / np.maximum(n * (n + 1), 1)
    more = np.zeros_like(r)
    more[np.arange(len(r)), moved.argmax(axis=1)] = 1
    few = n.sum(axis=1, keepdims=True) < FEW_LABELS
    more = np.where(few, n > 0, more)
    shape = x + more * damaged
    total = np.maximum(n + more, 1)
    share = shape / total
    # What an urn as sampled lacks in variance for having been estimated from it (n - 1).
    freedom = np.where(more > 0, total + 1, np.maximum(n - 1, 1))
    variance = r * share * (1 - share) * (total + r) / freedom
    size, mean = r.sum(axis=1), (r * share).sum(axis=1)
    return _Beta(size=size, mean=mean, variance=variance.sum(axis=1))


def _mid_limits(
    lower: _Beta, upper: _Beta, low: Floats, high: Floats, *, where: Bools
) -> tuple[Floats, Floats]:
    """Return the limits where the half-and-half mixture of both leaves 2.5 % on each side."""
    if not where.any():
        return low, high
    pair = tuple(
        _Beta(size=one.size[where], mean=one.mean[where], variance=one.variance[where])
        for one in (lower, upper)
    )
    low, high = low.copy(), high.copy()
    low[where] = _mixture_quantile(pair[0], pair[1], TAIL)
    high[where] = _mixture_quantile(pair[0], pair[1], 1 - TAIL)
    return low, high


def _mixture_quantile(lower: _Beta, upper: _Beta, probability: float) -> Floats:
    """Return the quantile of the mixture by bisection; it lies between those of its parts."""
    left, right = (one.quantile(probability) for one in (lower, upper))
    left, right = np.minimum(left, right), np.maximum(left, right)
    for _ in range(BISECTIONS):
        middle = (left + right) / 2
        short = (lower.below(middle) + upper.below(middle)) / 2 < probability
        left, right = np.where(short, middle, left), np.where(short, right, middle)
    return right
