"""Mean and variance of what passes between layers, and what arithmetic makes of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    """The numbers of a tensor, taken as independent draws from one normal distribution."""

    mean: float
    variance: float

    @property
    def second(self) -> float:
        """Return the mean square."""
        return self.variance + self.mean**2

    def scaled(self, factor: float) -> "Signal":
        """Return what a product with a number has."""
        return Signal(self.mean * factor, self.variance * factor**2)

    def shifted(self, offset: float) -> "Signal":
        """Return what a sum with a number has."""
        return Signal(self.mean + offset, self.variance)


STANDARD = Signal(0.0, 1.0)


def added(one: Signal, other: Signal, weight: float = 1.0) -> Signal:
    """Return what `one + weight * other` has, both independent."""
    return Signal(one.mean + weight * other.mean, one.variance + weight**2 * other.variance)


def multiplied(one: Signal, other: Signal) -> Signal:
    """Return what a product has, both independent."""
    mean = one.mean * other.mean
    return Signal(mean, one.second * other.second - mean**2)


def matrix_product(one: Signal, other: Signal, common: int) -> Signal:
    """Return what sums of `common` products have."""
    single = multiplied(one, other)
    return Signal(common * single.mean, common * single.variance)


def joined(signals: Sequence[Signal], sizes: Sequence[int]) -> Signal:
    """Return what tensors of those sizes have together."""
    total = sum(sizes)
    pairs = list(zip(signals, sizes, strict=True))
    mean = math.fsum(signal.mean * size for signal, size in pairs) / total
    second = math.fsum(signal.second * size for signal, size in pairs) / total
    return Signal(mean, second - mean**2)


def dropped(signal: Signal, share: float) -> Signal:
    """Return what is left where a share is set to zero and the rest divided by 1 - share.

    The released code of the paper leaves out the second term, which the mean brings.
    """
    kept = 1 - share
    return Signal(signal.mean, signal.variance / kept + signal.mean**2 * share / kept)


def filled(signal: Signal, share: float, value: float = 0.0) -> Signal:
    """Return what a tensor has of which a share is a constant, as padding is.

    The released code takes (1 - share) * variance, without what the mean brings.
    """
    return joined_shares(signal, Signal(value, 0.0), share)


def joined_shares(signal: Signal, other: Signal, share: float) -> Signal:
    """Return what a mixture has in which `other` has a share."""
    mean = (1 - share) * signal.mean + share * other.mean
    second = (1 - share) * signal.second + share * other.second
    return Signal(mean, second - mean**2)
