"""Which units tell a network most: doubtful ones, unlike each other, spread over the ground."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EARTH_M = 6_371_000.0
PICKS_PER_BLOCK = 5
"""Picks that a block of ground gets at least, so that there is a choice within it."""
MAX_BLOCKS = 16
SMALLEST_P = 1e-6
"""Probabilities are rounded to this, so that 1 is not infinitely far from any threshold."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Units to choose from, N of them.

    Attributes:
        embeddings: What the network's head sees of each, (N, F).
        uncertainty: How doubtful each is, above 0, (N,).
        places: Coordinates in metres, (N, D).
        free: Units that may be chosen, (N,).
        apart_m: Units nearer than this show the same ground.
    """

    embeddings: Floats
    uncertainty: Floats
    places: Floats
    free: NDArray[np.bool_]
    apart_m: float


def uncertainty_of(p: Floats, threshold: float) -> Floats:
    """Return `1 / (1 + d)`, where d is the distance of p from the threshold in the logit.

    It is 1 at the threshold and falls slowly, so that a model which errs far from its threshold
    does not silence diversity, and one that says the same of every unit leaves it alone to decide.
    """
    return np.asarray(1 / (1 + np.abs(_logit(p) - _logit(np.array(threshold)))))


def metres(lon: Floats, lat: Floats) -> Floats:
    """Return places on a sphere, so that straight distances are true ones nearby, (N, 3)."""
    east, north = np.radians(lon), np.radians(lat)
    around = np.cos(north)
    axes = [around * np.cos(east), around * np.sin(east), np.sin(north)]
    return np.asarray(EARTH_M * np.stack(axes, axis=1))


def choose(
    choices: Choices, count: int, *, taken: Sequence[int], rng: np.random.Generator
) -> list[int]:
    """Choose units one after the other, by uncertainty times squared distance to what is taken.

    The next one is drawn with that weight, as in k-means++ (Arthur and Vassilvitskii 2007) and,
    for active learning, BADGE (Ash et al. 2020, arXiv:1906.03671); distances are between the
    embeddings, as in CoreSet (Sener and Savarese 2018, arXiv:1708.00489), each dimension in
    standard deviations. It comes from the block of ground with the fewest picks, and is not nearer
    than `apart_m` to another pick, as long as there are such units.

    Args:
        choices: What to choose from.
        count: Units to choose; fewer come back where fewer are free.
        taken: Units that are labelled already or will be, whose like is not needed.
        rng: Draws.

    Returns:
        Numbers of units in the order in which they were chosen.
    """
    picker = _Picker(choices, blocks=_block_count(count))
    for unit in taken:
        picker.take(unit)
    picked: list[int] = []
    while len(picked) < count and picker.free.any():
        picked.append(picker.draw(rng))
        picker.take(picked[-1])
    return picked


class _Picker:
    """What a choice has come to: how far every unit is from those that are taken."""

    def __init__(self, choices: Choices, *, blocks: int) -> None:
        self.free = choices.free.copy()
        self._choices = choices
        self._embeddings = _standardised(choices.embeddings)
        self._blocks = ground_blocks(choices.places, np.flatnonzero(choices.free), blocks)
        self._picks = np.zeros(blocks, dtype=np.int64)
        self._unlike = np.full(len(self.free), np.inf)
        self._away_m = np.full(len(self.free), np.inf)

    def take(self, unit: int) -> None:
        """Count a unit as taken."""
        if self.free[unit]:
            self._picks[self._blocks[unit]] += 1
            self.free[unit] = False
        places = self._choices.places
        unlike = ((self._embeddings - self._embeddings[unit]) ** 2).sum(axis=1)
        away_m = np.sqrt(((places - places[unit]) ** 2).sum(axis=1))
        np.minimum(self._unlike, unlike, out=self._unlike)
        np.minimum(self._away_m, away_m, out=self._away_m)

    def draw(self, rng: np.random.Generator) -> int:
        """Return one of the free units."""
        allowed = self.free & (self._away_m >= self._choices.apart_m)
        if not allowed.any():
            allowed = self.free
        units = np.flatnonzero(allowed)
        picks = self._picks[self._blocks[units]]
        units = units[picks == picks.min()]
        weight = self._choices.uncertainty[units]
        # Nothing is taken at first, and then all are equally unlike it.
        unlike = np.where(np.isinf(self._unlike[units]), 1.0, self._unlike[units])
        if unlike.any():
            weight = weight * unlike
        return int(rng.choice(units, p=weight / weight.sum()))


def ground_blocks(places: Floats, units: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """Cut units into blocks of ground with as many units each, by halving along the longer side.

    Args:
        places: Coordinates in metres, (N, D).
        units: Which of the N to cut.
        blocks: A power of two.

    Returns:
        The block of each of the N units; 0 for those not in `units`.
    """
    block_of = np.zeros(len(places), dtype=np.int64)
    pieces = [units]
    while len(pieces) < blocks:
        pieces = [half for piece in pieces for half in _halves(places, piece)]
    for number, piece in enumerate(pieces):
        block_of[piece] = number
    return block_of


def _halves(places: Floats, units: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    if len(units) < 2:
        return [units, units[:0]]
    axis = int(np.ptp(places[units], axis=0).argmax())
    ordered = units[np.argsort(places[units, axis], kind="stable")]
    return [ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]]


def _block_count(count: int) -> int:
    """Return a power of two: 1 for 9 picks or fewer, 4 for 20, 16 from 80."""
    wanted = min(max(count // PICKS_PER_BLOCK, 1), MAX_BLOCKS)
    return 1 << (wanted.bit_length() - 1)


def _standardised(embeddings: Floats) -> Floats:
    """Return embeddings with mean 0 and deviation 1; a dimension that never varies becomes 0."""
    centred = embeddings - embeddings.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1.0))


def _logit(p: Floats) -> Floats:
    inside = np.clip(p, SMALLEST_P, 1 - SMALLEST_P)
    return np.asarray(np.log(inside) - np.log1p(-inside))
