"""The outline of a scene in longitude and latitude, as RFC 7946 wants it."""

from typing import Any

import numpy as np
import shapely
from affine import Affine
from shapely.affinity import translate

from damagenet.assessment import SceneInfo
from data_prep.ground import to_crs, to_lonlat

POINTS_A_SIDE = 8
"""A straight side in a CRS is a curve in longitude and latitude."""
DECIMALS = 7
Box = list[float]


def footprint(scene: SceneInfo) -> tuple[dict[str, Any] | None, Box | None]:
    """Return a scene's rectangle as GeoJSON geometry, and its west, south, east and north.

    Degrees of WGS 84, counterclockwise, 7 decimals. Across the antimeridian it is two polygons,
    and west is greater than east. Without CRS, or where the CRS leads to no place, there is
    neither.
    """
    if scene.crs is None:
        return None, None
    outline = shapely.box(0, 0, scene.width, scene.height, ccw=False)
    ring = shapely.segmentize(outline, max(scene.width, scene.height) / POINTS_A_SIDE)
    grid = Affine(*scene.transform)
    places = [to_crs(grid, col, row) for col, row in shapely.get_coordinates(ring).tolist()]
    xs, ys = zip(*places, strict=True)
    lons, lats = to_lonlat(scene.crs).transform(np.array(xs), np.array(ys))
    if not (np.isfinite(lons).all() and np.isfinite(lats).all()):
        return None, None
    lons = lons - 360 * np.rint((lons.min() + lons.max()) / 720)
    across = bool(np.ptp(lons) > 180)
    if across:
        lons = np.where(lons < 0, lons + 360, lons)
    polygon = shapely.Polygon(np.round(np.column_stack((lons, lats)), DECIMALS))
    west, south, east, north = polygon.bounds
    if not across:
        return shapely.geometry.mapping(polygon), [west, south, east, north]
    return _two_halves(polygon), [west, south, round(east - 360, DECIMALS), north]


def _two_halves(polygon: shapely.Polygon) -> dict[str, Any]:
    """Return a polygon of longitudes from 0 to 360 degrees, cut at 180."""
    eastern = polygon.intersection(shapely.box(0, -90, 180, 90))
    western = translate(polygon.intersection(shapely.box(180, -90, 360, 90)), xoff=-360)
    halves = shapely.union(eastern, western)
    return shapely.geometry.mapping(shapely.orient_polygons(halves))
