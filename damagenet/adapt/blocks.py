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
            were chosen and lie among those aside, which were drawn at random.
    """

    fitted: Rows
    aside: Rows
    block: Rows
    block_m: float
    dropped: int


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
    share: float = 0.3,
    seed: int = 0,
) -> Parts:
    """Keep whole blocks of labels aside, so that both classes are on both sides.

    Several sides of blocks and many ways to deal them out are tried. Best is what comes nearest to
    the share, loses the fewest labels to overlapping chips, and has neither few blocks nor few of
    a class on either side. Where labels were drawn at random, those alone are kept aside if they
    hold both classes.

    Args:
        centres: East and north of each label in metres (N, 2).
        damaged: What they say (N,).
        pairs: From `overlapping`.
        random: Which were drawn at random (N,).
        share: Wished share aside.
        seed: Seed of the ways that are tried.

    Raises:
        DataError: If no way gives both classes on both sides.
    """
    chosen = np.zeros(len(damaged), bool) if random is None else random
    ways = [
        _best_way(centres, damaged, pairs, keep=keep, share=share, seed=seed)
        for keep in _keeps(chosen)
    ]
    for parts in ways:
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


def _keeps(random: Bools) -> list[Bools]:
    """Return which labels may be kept aside: those drawn at random first, else all."""
    everything = np.ones(len(random), bool)
    return [random, everything] if random.any() and not random.all() else [everything]


def _best_way(
    centres: Floats, damaged: Bools, pairs: Rows, *, keep: Bools, share: float, seed: int
) -> Parts | None:
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for side in SIDES_M:
        cells = np.floor(centres / side).astype(np.int64)
        block = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
        if block.max() == 0:
            continue
        for _ in range(DRAWS):
            parts = _dealt(block, side, damaged, pairs, keep=keep, share=share, rng=rng)
            cost = _cost(parts, damaged, share)
            if cost < least:
                best, least = parts, cost
    return best


def _dealt(
    block: Rows,
    side: float,
    damaged: Bools,
    pairs: Rows,
    *,
    keep: Bools,
    share: float,
    rng: np.random.Generator,
) -> Parts:
    """Put blocks aside in a random order until the share is reached."""
    order = rng.permutation(block.max() + 1)
    sizes = np.bincount(block, keep, minlength=len(order))[order]
    before = np.cumsum(sizes) - sizes
    inside = np.isin(block, order[before + sizes / 2 < share * keep.sum()])
    aside = np.flatnonzero(inside & keep)
    fitted = apart(np.flatnonzero(~inside), aside, pairs)
    dropped = len(damaged) - len(aside) - len(fitted)
    return Parts(fitted=fitted, aside=aside, block=block, block_m=side, dropped=dropped)


def _cost(parts: Parts, damaged: Bools, share: float) -> float:
    """Return how bad a way is; infinite where a class is missing on a side."""
    sides = [damaged[parts.fitted], damaged[parts.aside]]
    fewest = min(min(int(side.sum()), int((~side).sum())) for side in sides)
    if fewest < LEAST:
        return np.inf
    blocks = len(np.unique(parts.block[parts.aside]))
    total = len(damaged)
    return float(
        abs(len(parts.aside) / total - share)
        + parts.dropped / total
        + 0.2 * max(0, COMFORTABLE - fewest) / COMFORTABLE
        + 0.5 * max(0, MIN_BLOCKS - blocks) / MIN_BLOCKS
        + abs(float(sides[0].mean() - sides[1].mean()))
    )
