"""The three situations: random labels of this event, only the card's error rates, or neither.

Random labels are taken as drawn from all units of the run, or from all of one verdict. Then they
hold for the whole run, and inside any area for that area, whatever the model's errors are. An area
with few of them may borrow from the whole run where that is asked for: the damaged share among
units of one verdict is then taken to be the same in every area, which the labels can refute and
never prove, and which clustered damage breaks. The other choice, that error rates given the truth
are the same, asks for their inverse, which does not exist for a model that flags damaged and
undamaged units alike, as the shipped one does.

Where the model was adapted to some of the labels, its verdicts fit labelled units better than
others, and what labels say of one verdict no longer holds for the rest of it: then all judged units
count as of one verdict, and the random labels speak for all of them.

Labels that were not drawn at random are known truths. Nobody can say what they stand for, so they
take no part in the rates; an interval only never contradicts them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from damagenet.outputs.totals import Method
from damagenet.totals.error_rates import ErrorRates, adjusted_total
from damagenet.totals.intervals import Intervals, damaged_among
from damagenet.totals.tally import Tally

NOT_JUDGED = 3
"""Index of the stratum without a verdict; see `tally.VERDICTS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The total of one place; see `AreaTotal`."""

    estimate: float | None
    low: int
    high: int
    method: Method
    contradicted: bool = False


def count_by_labels(tally: Tally, *, own_labels: int, shared: bool) -> list[Counted]:
    """Count every place with random labels.

    Args:
        tally: The places, which together are the whole run.
        own_labels: Random labels inside a place from which on it borrows nothing. The number does
            not depend on what they say, so that choosing by it bends no interval.
        shared: Let places with fewer borrow from the whole run; else each has its own alone.
    """
    run = tally.whole
    borrowed = damaged_among(_rest(tally), run.random[0], run.random_damaged[0])
    own = damaged_among(_rest(tally), tally.random, tally.random_damaged)
    own_count = tally.random.sum(axis=1)
    alone = own_count >= (own_labels if shared else 0)
    methods: list[Method] = ["own-labels" if one else "random-labels" for one in alone]
    # A place that has nothing but itself and no label has no estimate.
    blind = alone & (own_count == 0) & (tally.units.sum(axis=1) > 0)
    return _counted(tally, _chosen(own, borrowed, alone), methods, blind=blind)


def count_whole(tally: Tally) -> Counted:
    """Count all places together with the random labels of the run."""
    run = tally.whole
    among_rest = damaged_among(_rest(run), run.random, run.random_damaged)
    return _counted(run, among_rest, ["random-labels"], blind=np.zeros(1, dtype=bool))[0]


def count_by_rates(tally: Tally, rates: ErrorRates | None) -> list[Counted]:
    """Count every place with the error rates of a card; without rates only labels are known.

    A unit that was not judged may be damaged or not, so the interval grows by all of them; the
    estimate takes them for as often damaged as the judged ones.
    """
    return [_by_rates(tally, index, rates) for index in range(len(tally.units))]


def _by_rates(tally: Tally, index: int, rates: ErrorRates | None) -> Counted:
    units, unseen = int(tally.units[index].sum()), int(tally.units[index, NOT_JUDGED])
    least, most = int(tally.known_damaged[index]), int(tally.not_known_undamaged[index])
    if not units:
        return Counted(estimate=0.0, low=0, high=0, method="no-units")
    if rates is None or units == unseen:
        exact = float(least) if least == most else None
        method: Method = "no-rates" if rates is None else "card-rates"
        return Counted(estimate=exact, low=least, high=most, method=method)
    judged = units - unseen
    total = adjusted_total(int(tally.flags[index]), judged, rates)
    low, high = (int(np.clip(end, least, most)) for end in (total.low, total.high + unseen))
    estimate = float(low) if low == high else None
    if total.estimate is not None:
        estimate = float(np.clip(total.estimate * units / judged, low, high))
    return Counted(
        estimate=estimate,
        low=low,
        high=high,
        method="card-rates",
        contradicted=total.contradicted,
    )


def _rest(tally: Tally) -> npt.NDArray[np.int64]:
    return tally.units - tally.random


def _chosen(first: Intervals, second: Intervals, where: npt.NDArray[np.bool_]) -> Intervals:
    return Intervals(
        estimate=np.where(where, first.estimate, second.estimate),
        low=np.where(where, first.low, second.low),
        high=np.where(where, first.high, second.high),
    )


def _counted(
    tally: Tally,
    among_rest: Intervals,
    methods: list[Method],
    *,
    blind: npt.NDArray[np.bool_],
) -> list[Counted]:
    """Add what random labels found to what they say of the rest, within what is known."""
    found = tally.random_damaged.sum(axis=1)
    least, most = tally.known_damaged, tally.not_known_undamaged
    low = np.clip(among_rest.low + found, least, most)
    high = np.clip(among_rest.high + found, least, most)
    estimate = np.clip(among_rest.estimate + found, low, high)
    units = tally.units.sum(axis=1)
    return [
        Counted(
            estimate=None if blind[index] and low[index] < high[index] else float(estimate[index]),
            low=int(low[index]),
            high=int(high[index]),
            method=methods[index] if units[index] else "no-units",
        )
        for index in range(len(units))
    ]
