"""One round of suggestions: some drawn at random, the others chosen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damagenet.adapt.diversity import Choices, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round adds; numbers are those of the units that were to choose from.

    Attributes:
        order: New units in the order in which to label them, and whether each is a random one.
        again: Units that have a label and are now drawn at random.
    """

    order: tuple[tuple[int, bool], ...]
    again: tuple[int, ...]

    @property
    def draws(self) -> int:
        """How many units were drawn at random."""
        return len(self.again) + sum(random for _, random in self.order)


def plan_round(
    choices: Choices,
    *,
    random: NDArray[np.bool_],
    share: float,
    n: int,
    rng: np.random.Generator,
) -> Round:
    """Plan a round of `n` units without a label, fewer where fewer are left.

    The share at random is drawn from all units that no round has drawn at random, whether they have
    a label or not. So the random units of all rounds are together what one draw of that many would
    give: each unit has the same chance, however the others were chosen. One with a label needs no
    new one, and leaves its place in the round to a chosen unit.

    Args:
        choices: All units; `free` are those without a label.
        random: Units that were drawn at random earlier, (N,).
        share: Of the round, drawn at random.
        n: Units wanted.
        rng: Draws.
    """
    count = min(n, int(choices.free.sum()))
    draws = int(share * count + 0.5)
    drawn = rng.permutation(np.flatnonzero(~random))[:draws]
    new = [int(unit) for unit in drawn if choices.free[unit]]
    again = [int(unit) for unit in drawn if not choices.free[unit]]
    labelled = np.flatnonzero(~choices.free).tolist()
    chosen = choose(choices, count - len(new), taken=[*labelled, *new], rng=rng)
    return Round(order=interleaved(new, chosen), again=tuple(again))


def interleaved(random: list[int], chosen: list[int]) -> tuple[tuple[int, bool], ...]:
    """Return both in one order that mixes them evenly, each in its own.

    Whoever labels in this order and stops early then has a random sample all the same, and as
    large a share of it as was asked for.
    """
    total = len(random) + len(chosen)
    first, second = iter(random), iter(chosen)
    is_random = [
        (place + 1) * len(random) // total > place * len(random) // total for place in range(total)
    ]
    return tuple((next(first if one else second), one) for one in is_random)
