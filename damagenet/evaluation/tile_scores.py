"""Tiles of the data set to probabilities, and to the scores of a fold."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from damagenet.bundle import Bundle
from damagenet.evaluation.reliability import reliability_bins
from damagenet.evaluation.score_report import FoldScores
from damagenet.evaluation.scores import score
from damagenet.inference import Predictor
from data_prep.harvey import HarveyTiles
from data_prep.tile_ground import spatial_blocks

CHIPS_AT_ONCE = 512

Rows = npt.NDArray[np.int64]
Chips = npt.NDArray[np.uint8]


def tile_probabilities(
    predictor: Predictor,
    tiles: HarveyTiles,
    rows: Rows,
    *,
    view: Callable[[Chips, slice], Chips] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the calibrated probability of damage of tiles, float64 (N,).

    Args:
        predictor: The model, on its device.
        tiles: The prepared data set.
        rows: Row numbers of the manifest (N,).
        view: Changes the chips before they are judged; takes uint8 (n, 3, S, S) and which of the
            `rows` they are.
    """
    found = [np.empty(0, np.float64)]
    for start in range(0, rows.size, CHIPS_AT_ONCE):
        run = slice(start, start + CHIPS_AT_ONCE)
        chips = np.ascontiguousarray(tiles.pixels[rows[run]].transpose(0, 3, 1, 2))
        found.append(predictor.probabilities((chips if view is None else view(chips, run),)))
    return np.concatenate(found)


def score_rows(
    bundle: Bundle,
    tiles: HarveyTiles,
    rows: Rows,
    p: npt.NDArray[np.float64],
    *,
    fold: str,
    note: str = "",
) -> FoldScores:
    """Return the scores of a network on tiles at its own threshold.

    Args:
        bundle: The network.
        tiles: The prepared data set.
        rows: Row numbers of the manifest (N,).
        p: Its probabilities of damage for them (N,).
        fold: What was held out, or what was done to the tiles.
        note: What a reader must know of these figures.
    """
    labels = tiles.labels[rows]
    own = tiles.manifest.iloc[rows]
    threshold = bundle.card.threshold
    blocks = spatial_blocks(own["lon"], own["lat"])
    return FoldScores(
        fold=fold,
        unit="tiles",
        model=bundle.model_id,
        bundle=bundle.folder,
        threshold=threshold,
        scores=score(p, labels, threshold=threshold, blocks=blocks),
        reliability=reliability_bins(p, labels),
        note=note,
    )
