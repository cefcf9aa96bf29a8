"""`damage.tif`: P(damaged) as a cloud-optimised GeoTIFF, built with bounded memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from damagenet.assessment import Assessment, GridInfo
from damagenet.outputs.atomic import appears
from damagenet.outputs.batches import Batches
from damagenet.outputs.burning import burn_buildings
from damagenet.outputs.cog import BLOCK_PX, copy_as_cog, raster_errors
from damagenet.outputs.layer import VectorLayer
from damagenet.outputs.style import sidecar_qml
from damagenet.outputs.trust import trust
from damagenet.outputs.words import abstract, statements

FINEST_M, COARSEST_M = 2.0, 5.0
"""Ground sampling of the map of buildings: fine where the map stays small, else coarser."""
WANTED_SIDE_PX = 8_192
MAX_SIDE_PX = 16_384
"""Longer side of the map of buildings; beyond it, pixels grow past `COARSEST_M`."""
STRIP_PX = 2**25
"""Pixels held at once while buildings are burned in (128 MB of float32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapGrid:
    """The pixel grid of `damage.tif`: the scene's grid, coarsened."""

    width: int
    height: int
    scale_x: float
    """Width of one pixel of the map in pixels of the scene."""
    scale_y: float


def map_grid(assessment: Assessment) -> MapGrid:
    """Return the grid of the map: one pixel per cell, or 2 to 5 m per pixel for buildings."""
    grid, scene = assessment.grid, assessment.scene
    if grid is not None:
        return MapGrid(
            width=grid.columns,
            height=grid.rows,
            scale_x=grid.cell_width_px,
            scale_y=grid.cell_height_px,
        )
    side, pixel_m = max(scene.width, scene.height), max(scene.pixel_m)
    wanted = min(-(-side // WANTED_SIDE_PX), round(COARSEST_M / pixel_m))
    factor = max(1, round(FINEST_M / pixel_m), wanted, -(-side // MAX_SIDE_PX))
    return MapGrid(
        width=-(-scene.width // factor),
        height=-(-scene.height // factor),
        scale_x=factor,
        scale_y=factor,
    )


def write_cog(path: Path, assessment: Assessment, layer: VectorLayer, batches: Batches) -> None:
    """Write P(damaged) as float32, NaN where nothing was judged, with overviews.

    A grid gives one pixel per cell; buildings are burned in, points as a disc 15 m across, and
    the larger probability wins where two meet. Colours for QGIS lie beside it in `damage.qml`.

    Raises:
        OutputError: If the file cannot be written.
    """
    with appears(path) as temporary, raster_errors(path):
        plain = temporary.with_name("plain.tif")
        _write_plain(plain, assessment, layer, batches)
        copy_as_cog(plain, temporary)
    with appears(path.with_suffix(".qml")) as temporary:
        temporary.write_text(sidecar_qml(assessment.geometry), encoding="utf-8")


def _write_plain(path: Path, assessment: Assessment, layer: VectorLayer, batches: Batches) -> None:
    """Write the pixels into a tiled GeoTIFF, where any window can be written at any time."""
    with _create(path, assessment) as target:
        if assessment.grid is not None:
            _fill_cells(target, assessment.grid, batches)
        else:
            _fill_buildings(target, assessment, layer, batches)


def _create(path: Path, assessment: Assessment) -> DatasetWriter:
    grid = map_grid(assessment)
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": "float32",
        "nodata": float("nan"),
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }
    fine = Affine(*assessment.scene.transform)
    if assessment.scene.crs is not None:
        profile["crs"] = rasterio.CRS.from_wkt(assessment.scene.crs)
    if fine != Affine.identity():
        profile["transform"] = _coarsened(fine, grid)
    target = rasterio.open(path, "w+", **profile)
    target.set_band_description(1, "P(damaged)")
    said = trust(assessment)
    target.update_tags(**statements(assessment.card, said))
    target.update_tags(TIFFTAG_IMAGEDESCRIPTION=abstract(assessment.card, said))
    return target


def _coarsened(fine: Affine, grid: MapGrid) -> Affine:
    x, y = grid.scale_x, grid.scale_y
    return Affine(fine.a * x, fine.b * y, fine.c, fine.d * x, fine.e * y, fine.f)


def _fill_cells(target: DatasetWriter, grid: GridInfo, batches: Batches) -> None:
    for batch in batches():
        if batch.row is None or not len(batch.row):
            continue
        row, column = np.divmod(batch.row, grid.columns)
        window = Window(0, int(row.min()), grid.columns, int(row.max() - row.min() + 1))
        pixels = target.read(1, window=window)
        pixels[row - row.min(), column] = batch.numbers("p_damaged")
        target.write(pixels, 1, window=window)


def _fill_buildings(
    target: DatasetWriter, assessment: Assessment, layer: VectorLayer, batches: Batches
) -> None:
    """Burn strip after strip, going through the records once for each; mostly there is one."""
    grid = map_grid(assessment)
    for window in _strips(grid):
        pixels = burn_buildings(assessment, batches, window, types=layer.types, scale=grid.scale_x)
        target.write(pixels, 1, window=window)


def _strips(grid: MapGrid) -> list[Window]:
    rows = max(BLOCK_PX, STRIP_PX // grid.width // BLOCK_PX * BLOCK_PX)
    return [
        Window(0, top, grid.width, min(rows, grid.height - top))
        for top in range(0, grid.height, rows)
    ]
