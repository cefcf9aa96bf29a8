"""Whether a bundle has seen the ground that it is to be scored on."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from damagenet.bundle import MANIFEST_FILE, find_bundle, read_card
from damagenet.errors import LeakError
from damagenet.recipe import Bounds
from data_prep.tile import HALF_TILE_DEGREES, world_pixel
from data_prep.tile_ground import shares_ground

Mask = npt.NDArray[np.bool_]


def learned_tiles(name_or_folder: str | Path) -> pd.DataFrame:
    """Return the training tiles of a bundle and of every bundle whose weights it started from.

    Returns:
        Columns lon, lat, label, sha256.

    Raises:
        BundleError: If one of the bundles is not found, so that nobody knows what it has seen.
    """
    card = read_card(name_or_folder)
    own = pd.read_parquet(find_bundle(name_or_folder) / MANIFEST_FILE)
    source = card.recipe.model.source_bundle
    return own if source is None else pd.concat([own, learned_tiles(source)])


def seen_tiles(tiles: pd.DataFrame, training_tiles: pd.DataFrame) -> Mask:
    """Say of each tile whether a training tile has the same bytes or shares ground with it.

    Args:
        tiles: Rows of a prepared data set's manifest, N of them.
        training_tiles: The bundle's list (lon, lat, sha256).
    """
    columns, rows = world_pixel(training_tiles["lon"], training_tiles["lat"])
    learned = pd.DataFrame({"column": columns, "row_px": rows})
    copies = tiles["sha256"].isin(training_tiles["sha256"]).to_numpy()
    seen: Mask = shares_ground(tiles, learned) | copies
    return seen


def seen_points(places: npt.NDArray[np.float64], training_tiles: pd.DataFrame) -> Mask:
    """Say of each place (lon, lat in degrees, (N, 2)) whether a training tile shows it, bool (N,).

    A place without coordinates (NaN) was not seen.
    """
    known = np.isfinite(places).all(axis=1)
    seen = np.zeros(len(places), bool)
    if known.any() and len(training_tiles):
        # The nearest by the larger of both differences: tiles are squares in degrees.
        tree = cKDTree(training_tiles[["lon", "lat"]].to_numpy(float))
        apart, _ = tree.query(places[known], p=np.inf)
        seen[known] = apart <= HALF_TILE_DEGREES
    return seen


def seen_boxes(boxes: list[Bounds], training_tiles: pd.DataFrame) -> Mask:
    """Say of each box (degrees) whether the ground of a training tile touches it, bool (N,)."""
    lon, lat = training_tiles["lon"].to_numpy(float), training_tiles["lat"].to_numpy(float)
    half = HALF_TILE_DEGREES
    return np.array(
        [
            bool(
                (
                    (lon + half > west)
                    & (lon - half < east)
                    & (lat + half > south)
                    & (lat - half < north)
                ).any()
            )
            for west, south, east, north in boxes
        ],
        dtype=bool,
    )


def require_unseen(seen: Mask, *, what: str) -> None:
    """Refuse to score ground that the network was trained on.

    Args:
        seen: True where a training tile shares the ground (N,).
        what: What is scored, as in `evaluation tiles`.

    Raises:
        LeakError: With the count, if any was seen.
    """
    if seen.any():
        raise LeakError(
            f"{int(seen.sum())} of {seen.size} {what} share ground with this bundle's training "
            "tiles: the score would not be honest; train for this protocol with "
            "`damagenet evaluate -c RECIPE`, or choose a protocol the bundle has not seen"
        )
