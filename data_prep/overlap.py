"""Which part of a scene's ground another picture reaches over, from their outlines alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import from_gcps
from shapely.geometry.base import BaseGeometry

from damagenet.errors import SceneError
from data_prep.ground import to_crs
from data_prep.north_up import PIXEL_COORDINATES
from data_prep.opening import gdal_session, open_raster
from data_prep.scene import Scene

POINTS_A_SIDE = 20
"""A straight side in one CRS is a curve in another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The part of a scene's rectangle that another picture's outline covers.

    Attributes:
        share: Of the scene's rectangle, 0..1.
        box: Left, top, right, bottom of the part in pixels of the scene; zeros without one.
    """

    share: float
    box: tuple[float, float, float, float]


def find_overlap(path: Path, scene: Scene, allow_driver: tuple[str, ...] = ()) -> Overlap:
    """Return which part of a scene a picture reaches over, without reading its pixels.

    Args:
        path: The picture.
        scene: The open scene.
        allow_driver: GDAL drivers to allow, as in `open_raster`.

    Raises:
        SceneError: If the picture cannot be opened, or nobody can know which ground both show.
    """
    with open_raster(path, allow_driver) as file, gdal_session(path):
        outline = _outline(file, path, scene)
    common = outline.intersection(shapely.box(0, 0, scene.width, scene.height))
    if not common.area:
        return Overlap(share=0.0, box=(0.0, 0.0, 0.0, 0.0))
    left, top, right, bottom = common.bounds
    share = min(1.0, common.area / (scene.width * scene.height))
    return Overlap(share=float(share), box=(left, top, right, bottom))


def _outline(file: DatasetReader, path: Path, scene: Scene) -> BaseGeometry:
    """Return the outline of a file in pixels of a scene; an empty one where it cannot be placed."""
    transform, crs = _placement(file)
    _check_alike(file, crs, path, scene)
    ring = shapely.segmentize(
        shapely.box(0, 0, file.width, file.height), max(file.width, file.height) / POINTS_A_SIDE
    )
    corners = shapely.get_coordinates(ring)
    placed = np.array([to_crs(transform, col, row) for col, row in corners.tolist()])
    if crs is not None and scene.crs is not None and crs != scene.crs:
        try:
            across = Transformer.from_crs(crs.to_wkt(), scene.crs.to_wkt(), always_xy=True)
        except ProjError:
            return shapely.Polygon()
        placed = np.column_stack(across.transform(*placed.T))
    if not np.isfinite(placed).all():
        return shapely.Polygon()
    grid = scene.transform
    pixels = (placed - (grid.c, grid.f)) / (grid.a, grid.e)
    return shapely.make_valid(shapely.Polygon(pixels))


def _placement(file: DatasetReader) -> tuple[Affine, CRS | None]:
    """Return pixel to CRS coordinates and the CRS, as `north_up` understands a file."""
    points, crs = file.gcps
    transform = file.transform
    if points and crs is not None and transform.is_identity:
        return from_gcps(points), crs
    if file.crs is None or transform.is_identity:
        straight = transform.b == transform.d == 0 and transform.a > 0 > transform.e
        return (transform if straight else PIXEL_COORDINATES), None
    return transform, file.crs


def _check_alike(file: DatasetReader, crs: CRS | None, path: Path, scene: Scene) -> None:
    if (crs is None) != (scene.crs is None):
        bare, other = (path, scene.path) if crs is None else (scene.path, path)
        raise SceneError(
            f"{bare} has no CRS and {other} has one, so that nobody knows which ground they "
            "share: give it a CRS"
        )
    if crs is None and (file.width, file.height) != (scene.width, scene.height):
        raise SceneError(
            f"{path} has {file.width} x {file.height} pixels, {scene.path} has {scene.width} x "
            f"{scene.height}, and neither has a CRS, so that nobody knows which ground they "
            "share: give both a CRS"
        )
