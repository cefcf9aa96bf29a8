"""Where pixels lie on the Earth: CRS to longitude and latitude, and lengths in true metres."""

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.affinity import translate

from damagenet.errors import SceneError

WGS84 = CRS.from_epsg(4326)
EARTH_RADIUS_M = 6_378_137.0
_GEOD = Geod(ellps="WGS84")


def to_lonlat(crs_wkt: str) -> Transformer:
    """Return the transformation from a CRS to longitude and latitude (WGS 84, degrees).

    Raises:
        SceneError: If the CRS is not understood, or is not one of the Earth.
    """
    try:
        crs = CRS.from_user_input(crs_wkt)
    except CRSError as err:
        raise SceneError(f"CRS {crs_wkt[:60]!r} is not understood: give an EPSG code") from err
    ellipsoid = crs.ellipsoid
    # PROJ refuses another body by name; a nameless sphere is told by its radius.
    if ellipsoid is not None and abs(ellipsoid.semi_major_metre / EARTH_RADIUS_M - 1) > 2e-3:
        raise SceneError(_elsewhere(crs))
    try:
        return Transformer.from_crs(crs, WGS84, always_xy=True)
    except ProjError as err:
        raise SceneError(_elsewhere(crs)) from err


def to_crs(transform: Affine, col: float, row: float) -> tuple[float, float]:
    """Return the CRS coordinates of a place in pixel coordinates."""
    # Written out because affine 3 deprecates `*` and affine 2 has no `@`.
    x = transform.a * col + transform.b * row + transform.c
    return x, transform.d * col + transform.e * row + transform.f


def pixel_metres(
    transform: Affine, col: float, row: float, lonlat: Transformer
) -> tuple[float, float]:
    """Return the lengths on the ground of one pixel along its row and along its column, in metres.

    Geodesic on the WGS 84 ellipsoid, so true also in degrees and in Web Mercator.

    Args:
        transform: Pixel to CRS coordinates.
        col: Column of the pixel's centre.
        row: Row of the pixel's centre.
        lonlat: CRS coordinates to longitude and latitude.
    """
    along_row = _length(transform, (col - 0.5, row), (col + 0.5, row), lonlat)
    along_column = _length(transform, (col, row - 0.5), (col, row + 0.5), lonlat)
    return along_row, along_column


def turned_to(shapes: np.ndarray, lon: float) -> np.ndarray:
    """Return geometries in degrees, moved by whole turns so that they lie nearest a longitude.

    The same meridian has many numbers: files count from -180 to 180, from 0 to 360, or on beyond
    the date line.

    Args:
        shapes: Geometries, empty ones among them.
        lon: Degrees.
    """
    bounds = shapely.bounds(shapes)
    turns = np.nan_to_num(np.rint((2 * lon - bounds[:, 0] - bounds[:, 2]) / 720))
    turned = np.array(shapes, object)
    for row in np.flatnonzero(turns):
        turned[row] = translate(turned[row], xoff=360 * turns[row])
    return turned


def _length(
    transform: Affine, start: tuple[float, float], end: tuple[float, float], lonlat: Transformer
) -> float:
    lon1, lat1 = lonlat.transform(*to_crs(transform, *start))
    lon2, lat2 = lonlat.transform(*to_crs(transform, *end))
    if not np.isfinite((lon1, lat1, lon2, lat2)).all():
        return float("nan")
    return float(_GEOD.inv(lon1, lat1, lon2, lat2)[2])


def _elsewhere(crs: CRS) -> str:
    return f"CRS {crs.name!r} cannot be placed on the Earth: give the data in a CRS of the Earth"
