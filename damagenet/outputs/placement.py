"""Where records lie in their scene: geometries in pixels of its north-up grid."""

from collections.abc import Callable

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from damagenet.assessment import Assessment
from damagenet.outputs.batches import Geometries

Placer = Callable[[Geometries], Geometries]


def pixel_placer(assessment: Assessment) -> Placer:
    """Return a function from geometries in the assessment's CRS to pixels (column, row).

    What cannot be brought into the scene's CRS becomes None.
    """
    to_pixels = ~Affine(*assessment.scene.transform)
    transformer = _transformer(assessment)

    def pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        if transformer is not None:
            x, y = transformer.transform(x, y)
        columns = to_pixels.a * x + to_pixels.b * y + to_pixels.c
        rows = to_pixels.d * x + to_pixels.e * y + to_pixels.f
        return np.stack([columns, rows], axis=1)

    def place(geometry: Geometries) -> Geometries:
        placed: Geometries = shapely.transform(geometry, pixels)
        placed[~np.isfinite(shapely.bounds(placed)).all(axis=1)] = None
        return placed

    return place


def _transformer(assessment: Assessment) -> Transformer | None:
    source, target = assessment.crs, assessment.scene.crs
    if source is None or target is None or source == target:
        return None
    own, scenes = CRS.from_user_input(source), CRS.from_user_input(target)
    return None if own == scenes else Transformer.from_crs(own, scenes, always_xy=True)
