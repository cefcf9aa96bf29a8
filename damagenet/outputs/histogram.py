"""The bars of the report's histogram of P(damaged)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the histogram."""

    height: float
    """In percent of the tallest."""
    undamaged: float
    """Part of its width that lies below the threshold, in percent."""
    count: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Judged units by P(damaged), in equal steps from 0 to 1."""

    counts: Sequence[int]
    threshold: float

    @property
    def bars(self) -> list[Bar]:
        """The bars from left to right."""
        step, tallest = 1 / len(self.counts), max(*self.counts, 1)
        return [
            Bar(
                height=100 * count / tallest,
                undamaged=100 * min(max(self.threshold / step - number, 0.0), 1.0),
                count=count,
                low=number * step,
                high=(number + 1) * step,
            )
            for number, count in enumerate(self.counts)
        ]
