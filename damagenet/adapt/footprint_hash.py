"""The fingerprint of a footprint: the same for the same walls, in whatever file they come."""

import hashlib

import numpy as np
import shapely
from geopandas import GeoSeries
from shapely.geometry.base import BaseGeometry

DIGITS = 12
STEP_DEG = 1e-6
"""Coordinates are counted in steps of this: about 0.1 m."""
OFFSET = 0.4444444
"""Where a step ends, as a share of it. Files hold degrees with 7 or 8 decimals, and those must not
lie where a step ends, or the noise of another CRS would move them over."""


def footprint_hashes(shapes: GeoSeries) -> list[str]:
    """Return 12 hexadecimal digits for each footprint; empty for one without a place.

    They do not depend on the CRS of the file, nor on where a ring starts, which way it runs and
    in which order the parts of a footprint stand. A vertex that moves by 0.2 m changes them; one
    that moves by less may.

    Args:
        shapes: Points or polygons, with a CRS.
    """
    return [_hash(shape) for shape in shapes.to_crs(4326)]


def _hash(shape: BaseGeometry | None) -> str:
    if shape is None or shape.is_empty or not np.isfinite(shape.bounds).all():
        return ""
    stepped = shapely.transform(shapely.force_2d(shape), _steps)
    # One polygon and a multi-polygon of one are the same footprint.
    whole = shapely.MultiPolygon([stepped]) if isinstance(stepped, shapely.Polygon) else stepped
    canonical = shapely.normalize(whole)
    wkb = shapely.to_wkb(canonical, byte_order=1, flavor="iso")
    return hashlib.sha256(wkb).hexdigest()[:DIGITS]


def _steps(degrees: np.ndarray) -> np.ndarray:
    # Adding zero turns -0.0 into 0.0.
    return np.asarray(np.floor(degrees / STEP_DEG + OFFSET) + 0.0)
