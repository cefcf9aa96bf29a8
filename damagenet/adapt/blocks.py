"""Spatial blocks of labels: a part set aside in ground of its own, and folds of the rest."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from damagenet.errors import DataError
from damagenet.evaluation.intervals import MIN_BLOCKS

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

SIDES_M = (1000.0, 500.0, 250.0, 125.0)
"""Sides of blocks that are tried: the chip is some 60 m wide, a scene may be 500 m."""
DRAWS = 100
"""Ways to deal out the blocks that are tried for each side."""
LEAST = 2
"""Labels of each class on each side, at least."""
COMFORTABLE = 8
"""Labels of each class on each side that are wished for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Which labels are fitted, which are kept aside, and which are neither.

    Attributes:
        fitted: Rows that the weights are fitted to, ascending.
        aside: Rows kept aside, ascending.
        block: Spatial block of every label (N,).
        block_m: Side of a block in metres.
        dropped: Labels left out because their chip overlaps one that is aside, or because they
            lie among those aside and may not be kept there: chosen where those were drawn at
            random, or known to the network.
    """

    fitted: Rows
    aside: Rows
    block: Rows
    block_m: float
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wish:
    """What is wished for aside.

    Attributes:
        keep: Which labels may be kept there (N,).
        count: How many of them are wished for.
        drawn: All of them were drawn at random.
    """

    keep: Bools
    count: float
    drawn: bool


def overlapping(ground: Floats, owner: Rows) -> Rows:
    """Return the pairs of different labels whose chips share ground, both ways, intp (P, 2).

    Args:
        ground: West, south, east and north of each chip in metres (M, 4).
        owner: Which label each chip belongs to (M,).
    """
    boxes = np.asarray(shapely.box(*ground.T))
    touching = shapely.STRtree(boxes).query(boxes, predicate="intersects").T
    pairs = owner[touching]
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def set_aside(
    centres: Floats,
    damaged: Bools,
    pairs: Rows,
    *,
    random: Bools | None = None,
    known: Bools | None = None,
    share: float = 0.3,
    seed: int = 0,
) -> Parts:
    """Keep whole blocks of labels aside, so that both classes are on both sides.

    Several sides of blocks and many ways to deal them out are tried. Best is what comes nearest to
    the share, loses the fewest labels to overlapping chips, and has neither few blocks nor few of
    a class on either side. Where labels were drawn at random, those alone are kept aside if they
    hold both classes; then what they say chooses among the ways no further than `LEAST` asks.

    Args:
        centres: East and north of each label in metres (N, 2).
        damaged: What they say (N,).
        pairs: From `overlapping`.
        random: Which were drawn at random (N,).
        known: Which lie on ground that the network learned from before; never aside (N,).
        share: Wished share aside.
        seed: Seed of the ways that are tried.

    Raises:
        DataError: If no way gives both classes on both sides.
    """
    nothing = np.zeros(len(damaged), bool)
    known = nothing if known is None else known
    wishes = _wishes(nothing if random is None else random, known, share)
    for parts in (_best_way(centres, damaged, pairs, wish, seed=seed) for wish in wishes):
        if parts is not None:
            return parts
    raise DataError(
        f"{int(damaged.sum())} damaged and {int((~damaged).sum())} undamaged labels lie so that "
        f"no blocks of {min(SIDES_M):g} to {max(SIDES_M):g} m give {LEAST} of each class to fit "
        f"and {LEAST} to keep aside: label both classes in several places"
    )


def fold_of(block: Rows, damaged: Bools, folds: int) -> Rows:
    """Deal blocks out to folds so that the rarer class is spread; return each label's (N,).

    Args:
        block: Spatial block of each label (N,).
        damaged: What they say (N,).
        folds: How many.
    """
    numbers, inverse = np.unique(block, return_inverse=True)
    counts = np.stack([np.bincount(inverse, damaged), np.bincount(inverse, ~damaged)], axis=1)
    rarer = counts[:, np.argmin(counts.sum(axis=0))]
    held, fold = np.zeros((folds, 2)), np.zeros(len(numbers), np.intp)
    for number in np.lexsort((-counts.sum(axis=1), -rarer)):
        amounts = (rarer[number], counts[number].sum())
        fold[number] = (
            np.lexsort((held[:, 1], held[:, 0]))[0] if amounts[0] else held[:, 1].argmin()
        )
        held[fold[number]] += amounts
    return fold[inverse]


def apart(train: Rows, test: Rows, pairs: Rows) -> Rows:
    """Return the training rows whose chips share no ground with those of test rows."""
    near = pairs[np.isin(pairs[:, 1], test), 0]
    return train[~np.isin(train, near)]


def _wishes(random: Bools, known: Bools, share: float) -> list[_Wish]:
    """Return what may be kept aside: labels drawn at random first, else any; never known ones."""
    everything = np.ones(len(random), bool)
    kinds = [(random, True)] if random.any() else []
    kinds += [] if random.all() else [(everything, False)]
    return [
        _Wish(keep=kind & ~known, count=share * int(kind.sum()), drawn=drawn)
        for kind, drawn in kinds
    ]


def _best_way(
    centres: Floats, damaged: Bools, pairs: Rows, wish: _Wish, *, seed: int
) -> Parts | None:
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for side in SIDES_M:
        cells = np.floor(centres / side).astype(np.int64)
        block = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
        if block.max() == 0:
            continue
        for _ in range(DRAWS):
            parts = _dealt(block, side, pairs, wish, rng)
            cost = _cost(parts, damaged, wish)
            if cost < least:
                best, least = parts, cost
    return best


def _dealt(block: Rows, side: float, pairs: Rows, wish: _Wish, rng: np.random.Generator) -> Parts:
    """Put blocks aside in a random order until there are as many as are wished for."""
    order = rng.permutation(block.max() + 1)
    sizes = np.bincount(block, wish.keep, minlength=len(order))[order]
    before = np.cumsum(sizes) - sizes
    # A block that has nothing to keep aside is left to the fit.
    inside = np.isin(block, order[(sizes > 0) & (before + sizes / 2 < wish.count)])
    aside = np.flatnonzero(inside & wish.keep)
    fitted = apart(np.flatnonzero(~inside), aside, pairs)
    dropped = len(block) - len(aside) - len(fitted)
    return Parts(fitted=fitted, aside=aside, block=block, block_m=side, dropped=dropped)


def _cost(parts: Parts, damaged: Bools, wish: _Wish) -> float:
    """Return how bad a way is; infinite where a class is missing on a side.

    Of labels drawn at random only sizes and blocks count: a part that is picked by what its labels
    say is no random draw any more, and nothing could be promised from it.
    """
    sides = [damaged[parts.fitted], damaged[parts.aside]]
    fewest = min(min(int(side.sum()), int((~side).sum())) for side in sides)
    if fewest < LEAST:
        return np.inf
    blocks = len(np.unique(parts.block[parts.aside]))
    total = len(damaged)
    cost = (
        abs(len(parts.aside) - wish.count) / total
        + parts.dropped / total
        + 0.5 * max(0, MIN_BLOCKS - blocks) / MIN_BLOCKS
    )
    if wish.drawn:
        return cost
    return float(
        cost
        + 0.2 * max(0, COMFORTABLE - fewest) / COMFORTABLE
        + abs(float(sides[0].mean() - sides[1].mean()))
    )
