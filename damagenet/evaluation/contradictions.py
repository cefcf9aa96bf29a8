"""Labels that name one building twice: merged where they agree, refused where they do not."""

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS

from damagenet.errors import DataError, EvaluationError

SAME_PLACE_M = 1.0
"""Points nearer than this are one building."""
SAME_SHARE = 0.5
"""Two outlines are one building where they share more than this part of the smaller."""
SHOWN = 4

Pairs = npt.NDArray[np.intp]


def one_label_each(labels: gpd.GeoDataFrame, *, source: str) -> gpd.GeoDataFrame:
    """Return the labels with every building once, the first of those that agree.

    Args:
        labels: Columns unit_id, damaged, geometry (in metres).
        source: Name of their file, for what is said when they contradict each other.

    Raises:
        EvaluationError: If one building is called both damaged and undamaged; with the ids.
    """
    pairs = _same_building(labels)
    _refuse_contradictions(labels, pairs, source)
    again = np.zeros(len(labels), bool)
    again[pairs[:, 1]] = True
    return labels[~again]


def refuse_contradictions(labels: gpd.GeoDataFrame, *, source: str) -> None:
    """Refuse labels that contradict each other; several that agree may stay.

    Args:
        labels: Columns unit_id, damaged, geometry (in any CRS of the Earth).
        source: Name of their file, for the sentence.

    Raises:
        DataError: If no label has a place on the Earth.
        EvaluationError: If one building is called both damaged and undamaged; with the ids.
    """
    projected = labels.to_crs(metres_around(labels, source=source))
    _refuse_contradictions(projected, _same_building(projected), source)


def metres_around(labels: gpd.GeoDataFrame, *, source: str) -> CRS:
    """Return a CRS in metres around labels.

    Raises:
        DataError: If no label has a place on the Earth.
    """
    try:
        metres: CRS = labels.estimate_utm_crs()
    except RuntimeError as err:
        raise DataError(f"{source}: no label has a place on the Earth: check the file") from err
    return metres


def _refuse_contradictions(labels: gpd.GeoDataFrame, pairs: Pairs, source: str) -> None:
    damaged = labels["damaged"].to_numpy(bool)
    apart = pairs[damaged[pairs[:, 0]] != damaged[pairs[:, 1]]]
    if not len(apart):
        return
    ids = labels["unit_id"].to_numpy(str)
    shown = ", ".join(f"{ids[first]} and {ids[second]}" for first, second in apart[:SHOWN])
    raise EvaluationError(
        f"{source} calls one building both damaged and undamaged, {len(apart)} time(s), at the "
        f"same place (ids {shown}): keep one label for each building"
    )


def _same_building(labels: gpd.GeoDataFrame) -> Pairs:
    """Return pairs of rows at one place, the earlier row first, intp (P, 2)."""
    shapes = labels.geometry.to_numpy()
    found = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=SAME_PLACE_M)
    pairs = np.asarray(found, np.intp).T.reshape(-1, 2)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    first, second = shapes[pairs[:, 0]], shapes[pairs[:, 1]]
    smaller = np.minimum(shapely.area(first), shapely.area(second))
    # Points have no area: near is enough.
    same = shapely.area(shapely.intersection(first, second)) > SAME_SHARE * smaller
    kept: Pairs = pairs[same | (smaller == 0)]
    return kept
