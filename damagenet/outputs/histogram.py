"""The bars of the report's histogram of P(damaged)."""

from collections.abc import Sequence
from dataclasses import dataclass

from damagenet.outputs.style import COLOURS


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in the units of a 100 x 100 drawing."""

    x: float
    width: float
    height: float
    colour: str
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
        """The bars from left to right; the tallest is 100 high."""
        step, tallest = 1 / len(self.counts), max(*self.counts, 1)
        return [
            Bar(
                x=100 * number * step,
                width=100 * step * 0.88,
                height=100 * count / tallest,
                colour=COLOURS["damaged" if number * step >= self.threshold else "undamaged"],
                count=count,
                low=number * step,
                high=(number + 1) * step,
            )
            for number, count in enumerate(self.counts)
        ]
