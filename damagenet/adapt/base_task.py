"""What becomes of the base task: tiles of its data set that neither trained it nor chose it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.adapt.comparing import compare
from damagenet.adapt.report import Comparison
from damagenet.bundle import Bundle
from damagenet.errors import ConfigError, DataError
from damagenet.evaluation.metrics import Sample, make_sample
from damagenet.evaluation.protocols import split_of
from damagenet.evaluation.seen_ground import seen_tiles
from damagenet.evaluation.shortcuts import unseen_rows
from damagenet.evaluation.tile_scores import tile_probabilities
from damagenet.inference import Predictor
from data_prep.harvey import PREPARED, HarveyTiles
from data_prep.tile import TILE_PX
from data_prep.tile_ground import spatial_blocks

MOST_TILES = 1000
"""More would take longer than the adaptation."""
PLACES = ["lon", "lat", "sha256"]


def find_tiles(given: Path | None, bundle: Bundle) -> tuple[HarveyTiles | None, str]:
    """Return the tiles of the base task, or None and why there are none.

    Raises:
        DataError: If the caller named a folder that holds none.
    """
    card, path = bundle.card, given or bundle.card.recipe.data.path
    if card.inputs != ("post",) or card.chip.size_px != TILE_PX:
        return None, (
            f"not measured: tiles are one picture of {TILE_PX} px, model {card.name} takes "
            f"{' and '.join(card.inputs)} of {card.chip.size_px} px"
        )
    if given is None and not (path / PREPARED).exists():
        return None, (
            f"not measured: {path} holds no prepared tiles; pass --tiles FOLDER (made by "
            "`damagenet data prepare`) to see what the model forgot"
        )
    return HarveyTiles.open(path), ""


def compare_on_tiles(
    tiles: HarveyTiles, before: Bundle, after: Bundle, learned: pd.DataFrame, *, seed: int
) -> tuple[Comparison | None, str]:
    """Score both bundles on tiles that neither has seen, at their own thresholds.

    The base's validation tiles chose its epoch, threshold and calibration: on them it would look
    better than it is, and what it forgot larger. They and their ground are left out too.

    Args:
        tiles: Prepared tiles.
        before: The base.
        after: Adapted.
        learned: Training tiles of both, columns lon, lat, sha256.
        seed: Seed of the choice of tiles and of the interval.

    Returns:
        The comparison, and how the tiles were chosen; None, and why, where the base's recipe does
        not say which of these tiles chose it.

    Raises:
        DataError: If training has touched all tiles, or those of one class.
    """
    try:
        validation = tiles.manifest.iloc[split_of(before.card.recipe, tiles).validation]
    except (ConfigError, DataError) as err:
        return None, (
            f"not measured: {tiles.folder} cannot be divided as for the training of "
            f"{before.card.name}, so that nobody knows which tiles chose its threshold: {err}"
        )
    touched = pd.concat([learned[PLACES], validation[PLACES]], ignore_index=True)
    rows = unseen_rows(tiles, seen_tiles(tiles.manifest, touched))
    unseen = len(rows)
    if len(np.unique(tiles.labels[rows])) < 2:
        raise DataError(
            f"{tiles.folder}: training has touched or validated on all tiles of a class, so that "
            "nothing says what the model forgot: name other tiles with --tiles, or leave it out"
        )
    if unseen > MOST_TILES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_TILES, replace=False))
    note = (
        f"{len(rows)} of the {unseen} distinct tiles in {tiles.folder} that share no ground with "
        "training or with the tiles that chose the base's threshold, each model at its own"
    )
    samples = [_judged(bundle, tiles, rows) for bundle in (before, after)]
    return compare(*samples, seed=seed), note


def _judged(bundle: Bundle, tiles: HarveyTiles, rows: npt.NDArray[np.int64]) -> Sample:
    p = tile_probabilities(Predictor(bundle, device="cpu"), tiles, rows)
    own = tiles.manifest.iloc[rows]
    return make_sample(
        p,
        tiles.labels[rows],
        flagged=p >= bundle.card.threshold,
        blocks=spatial_blocks(own["lon"], own["lat"]),
    )
