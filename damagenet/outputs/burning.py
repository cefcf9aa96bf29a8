"""Buildings burned into a raster: polygons as they are, points as discs."""

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

from damagenet.assessment import Assessment
from damagenet.outputs.batches import Batch, Batches, Geometries, regrouped
from damagenet.outputs.placement import Placer, pixel_placer

DISC_M = 15.0
"""Diameter of the disc that stands for a building given as a point."""
UNITS_PER_BURN = 50_000
"""Buildings burned at once: every burning goes over all pixels between the first and the last."""
_CORNERS = 32


def burn_buildings(
    assessment: Assessment, batches: Batches, window: Window, *, types: pa.Schema, scale: float
) -> NDArray[np.float32]:
    """Return P(damaged) in one window of the map, NaN where no judged building lies.

    Where buildings meet, the larger probability wins, whatever their order. Every pixel that a
    building touches takes its value, so that the smallest one shows.

    Args:
        window: Whole rows of the map, in pixels of the map.
        types: Columns of the batches.
        scale: Side of a pixel of the map in pixels of the scene.
    """
    place = pixel_placer(assessment)
    pixels: NDArray[np.float32] = np.full((window.height, window.width), np.nan, np.float32)
    for batch in regrouped(batches(), rows=UNITS_PER_BURN, types=types):
        shapes, probability = _shapes(assessment, batch, place, scale=scale)
        _burn(pixels, shapes, probability, top=window.row_off)
    return pixels


def discs(points: Geometries, *, radius_x: float, radius_y: float) -> Geometries:
    """Return an ellipse around every point (a disc on the ground where pixels are not square)."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    ring = np.stack([radius_x * np.cos(angle), radius_y * np.sin(angle)], axis=1)
    centres = shapely.get_coordinates(shapely.centroid(points))
    rings = shapely.polygons(centres[:, None, :] + ring)
    return np.asarray(rings, dtype=object)


def _shapes(
    assessment: Assessment, batch: Batch, place: Placer, *, scale: float
) -> tuple[Geometries, NDArray[np.float64]]:
    """Return judged buildings in pixels of the map, those with a smaller probability first."""
    probability = batch.numbers("p_damaged")
    judged = np.isfinite(probability) & ~shapely.is_missing(batch.geometry)
    shapes, probability = place(batch.geometry[judged]), probability[judged]
    here = ~shapely.is_missing(shapes)
    order = np.argsort(probability[here], kind="stable")
    shapes, probability = shapes[here][order], probability[here][order]
    if assessment.geometry == "point":
        width_m, height_m = assessment.scene.pixel_m
        shapes = discs(shapes, radius_x=DISC_M / 2 / width_m, radius_y=DISC_M / 2 / height_m)
    return shapely.transform(shapes, lambda xy: xy / scale), probability


def _burn(
    pixels: NDArray[np.float32],
    shapes: Geometries,
    probability: NDArray[np.float64],
    *,
    top: int,
) -> None:
    """Burn shapes into the rows that they touch; rows are counted from `top`."""
    _, low, _, high = shapely.bounds(shapes).T
    touching = (high >= top) & (low <= top + len(pixels))
    if not touching.any():
        return
    first = max(int(low[touching].min()) - top, 0)
    last = min(int(high[touching].max()) - top + 1, len(pixels))
    if first >= last:
        return
    burned = rasterize(
        zip(shapes[touching], probability[touching], strict=True),
        out_shape=(last - first, pixels.shape[1]),
        fill=np.nan,
        transform=Affine.translation(0, top + first),
        all_touched=True,
        dtype="float32",
    )
    np.fmax(pixels[first:last], burned, out=pixels[first:last])
