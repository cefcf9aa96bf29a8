"""How many units are damaged, from the flags alone: corrected by error rates measured elsewhere.

The estimate is that of Rogan and Gladen (1978, Am. J. Epidemiol. 107:71-76). The interval holds
every number of damaged units at which the flags seen are no surprise, so it ends at 0 and at all
units by itself, and spans both where the model cannot tell the two apart. What is a surprise
follows from the limits of both rates and from chance in the flags, joined as squares (method of
variance estimates recovery: Zou and Donner 2008, Statist. Med. 27:1693-1702).

It rests on rates given the truth, not given the verdict: how often a damaged unit is flagged may
hold from one storm to the next; how often a flagged one is damaged moves with how many there are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from damagenet.card import Card, Score
from damagenet.evaluation.intervals import CONFIDENCE, binomial_interval

Floats = npt.NDArray[np.float64]

Z = float(ndtri(0.5 + CONFIDENCE / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share measured on `n` units, 0..1, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, flagged: int, n: int) -> "Rate":
        """Return a rate with its exact interval (Clopper and Pearson 1934)."""
        exact = binomial_interval(flagged, n)
        return cls(value=flagged / n, low=exact.low, high=exact.high, n=n)

    @classmethod
    def of_score(cls, score: Score) -> "Rate":
        """Return a rate of a card: the wider of the card's interval and the exact one."""
        exact = cls.of(round(score.value * score.n), score.n)
        low = exact.low if score.low is None else min(score.low, exact.low)
        high = exact.high if score.high is None else max(score.high, exact.high)
        return cls(value=score.value, low=low, high=high, n=score.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRates:
    """How often a model flags damaged units (recall) and undamaged ones (false alarms)."""

    recall: Rate
    alarms: Rate

    @classmethod
    def of_card(cls, card: Card) -> "ErrorRates | None":
        """Return the rates measured after storms, or None where the card lacks one."""
        recall = card.after_storm("recall")
        alarms = card.after_storm("false_alarm_rate")
        if recall is None or alarms is None:
            return None
        return cls(recall=Rate.of_score(recall), alarms=Rate.of_score(alarms))

    @property
    def tell_apart(self) -> bool:
        """Whether damaged units are flagged more often than others, beyond doubt."""
        recall, alarms = self.recall, self.alarms
        doubt = np.hypot(recall.value - recall.low, alarms.high - alarms.value)
        return bool(recall.value - alarms.value > doubt)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustedTotal:
    """A corrected count; `estimate` is None where the rates tell nothing.

    Attributes:
        contradicted: No number of damaged units explains the flags: the rates do not hold here.
    """

    estimate: float | None
    low: int
    high: int
    contradicted: bool


def adjusted_total(flagged: int, units: int, rates: ErrorRates) -> AdjustedTotal:
    """Return how many of the judged units are damaged, given how many are flagged.

    Args:
        flagged: Units at or above the threshold that the rates were measured at.
        units: All judged units.
        rates: Recall and false alarms, which are taken to hold for these units.
    """
    numbers = np.arange(units + 1, dtype=np.float64)
    possible = np.flatnonzero(no_surprise(numbers, flagged, units, rates))
    if not possible.size:
        return AdjustedTotal(estimate=None, low=0, high=units, contradicted=True)
    low, high = int(possible[0]), int(possible[-1])
    if not rates.tell_apart:
        return AdjustedTotal(estimate=None, low=low, high=high, contradicted=False)
    gap = rates.recall.value - rates.alarms.value
    estimate = (flagged - units * rates.alarms.value) / gap
    return AdjustedTotal(
        estimate=float(np.clip(estimate, low, high)), low=low, high=high, contradicted=False
    )


def no_surprise(
    damaged: Floats, flagged: npt.ArrayLike, units: int, rates: ErrorRates
) -> npt.NDArray[np.bool_]:
    """Return for each number of damaged units whether it explains the flags, at 95 %.

    Args:
        damaged: Numbers to try, 0..units.
        flagged: Flags seen; broadcast against `damaged`.
        units: All judged units.
        rates: Recall and false alarms.
    """
    undamaged = units - damaged
    recall, alarms = rates.recall, rates.alarms
    excess = np.asarray(flagged) - damaged * recall.value - undamaged * alarms.value
    more = excess > 0
    recall_off = np.where(more, recall.high - recall.value, recall.value - recall.low)
    alarms_off = np.where(more, alarms.high - alarms.value, alarms.value - alarms.low)
    # A rate of 0 or 1 in the sample does not mean that there is no chance in it.
    chance = damaged * _spread(recall) + undamaged * _spread(alarms)
    reach = (damaged * recall_off) ** 2 + (undamaged * alarms_off) ** 2 + Z**2 * chance
    # Flags are whole: half a unit is no surprise.
    near: npt.NDArray[np.bool_] = np.maximum(np.abs(excess) - 0.5, 0) ** 2 <= reach
    return near


def _spread(rate: Rate) -> float:
    middle = (rate.low + rate.high) / 2
    return middle * (1 - middle)
