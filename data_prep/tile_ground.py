"""Where tiles lie: which share ground, which touch a box, and which spatial block each is in."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from damagenet.recipe import Bounds
from data_prep.tile import HALF_TILE_DEGREES, TILE_PX

Mask = npt.NDArray[np.bool_]

METRES_PER_DEGREE = 111_320.0
"""Of latitude, and of longitude at the equator."""
BLOCK_DEGREES = 0.01
"""Side of a spatial block, about 1 km: neighbours inside one are not independent."""


def shares_ground(tiles: pd.DataFrame, others: pd.DataFrame) -> Mask:
    """Say of each tile whether any of the others overlaps it by a pixel, whatever the class.

    Args:
        tiles: Rows of the manifest, with `column` and `row_px` on the world grid.
        others: Rows to look for, likewise.

    Returns:
        bool (len(tiles),).
    """
    if len(tiles) == 0 or len(others) == 0:
        return np.zeros(len(tiles), bool)
    tree = cKDTree(others[["column", "row_px"]].to_numpy(float))
    # p=inf measures the larger of both offsets; below a tile's side, the squares overlap.
    distance, _ = tree.query(tiles[["column", "row_px"]].to_numpy(float), k=1, p=np.inf)
    overlapping: Mask = distance < TILE_PX
    return overlapping


def touches(tiles: pd.DataFrame, boxes: Sequence[Bounds]) -> Mask:
    """Say of each tile whether its ground touches one of the boxes (degrees), bool (N,)."""
    lon, lat = tiles["lon"].to_numpy(float), tiles["lat"].to_numpy(float)
    half = HALF_TILE_DEGREES
    touching = np.zeros(len(tiles), bool)
    for west, south, east, north in boxes:
        across = (lon + half >= west) & (lon - half <= east)
        touching |= across & (lat + half >= south) & (lat - half <= north)
    return touching


def spatial_blocks(
    lon: npt.ArrayLike, lat: npt.ArrayLike, degrees: float = BLOCK_DEGREES
) -> npt.NDArray[np.int64]:
    """Number the square of a degree grid that each coordinate lies in.

    Args:
        lon: Longitudes in degrees, (N,).
        lat: Latitudes in degrees, (N,).
        degrees: Side of a square.

    Returns:
        int64 (N,): equal numbers lie in the same square, whatever else was asked with them.
    """
    columns = np.floor((np.asarray(lon, float) + 180) / degrees).astype(np.int64)
    rows = np.floor((np.asarray(lat, float) + 90) / degrees).astype(np.int64)
    across = int(np.ceil(360 / degrees)) + 1
    blocks: npt.NDArray[np.int64] = rows * across + columns
    return blocks
