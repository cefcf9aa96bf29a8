"""Buildings: read from any vector file, kept under the caller's ids, and turned into units."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import shapely
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from damagenet.assessment import DISTANCE_COLUMN, ROW_COLUMN
from damagenet.card import ChipGround
from damagenet.errors import FootprintError
from damagenet.labels import Kind
from damagenet.records import RECORD_FIELDS
from data_prep.ground import turned_to
from data_prep.ids import feature_ids
from data_prep.scene import Scene
from data_prep.vectors import ground_crs, read_vectors
from data_prep.windows import ChipSize, Unit, chip_size

ID_COLUMNS = ("uid", "id", "fid")
"""Columns that are taken for ids unasked, in this order, upper or lower case."""
MAX_CHIPS = 10_000_000
"""Chips of all buildings on one scene at most; more are no buildings, and would fill the memory."""
RESERVED = frozenset(
    (*RECORD_FIELDS, ROW_COLUMN, DISTANCE_COLUMN, "scenes", "disagree", "fid", "geom")
)
"""Columns of our own tables and of every GeoPackage, where upper and lower case are one; the
caller's of the same name get the prefix `src_`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildings:
    """The buildings of one file, all of them, in its order."""

    frame: gpd.GeoDataFrame
    """`unit_id`, the caller's attributes, `geometry`; the index is the row number in the file.

    A building without a usable geometry is kept, with an empty one.
    """
    path: Path
    geometry: Literal["point", "polygon"]
    warnings: tuple[str, ...] = ()

    def touching(self, scene: Scene) -> "Buildings":
        """Return the buildings that touch a scene's rectangle, in the same order.

        Raises:
            FootprintError: If the scene has no CRS, so that nothing can be matched.
        """
        shapes = _in_scene_crs(self, scene)
        touches = shapely.intersects(shapes, shapely.box(*scene.bounds))
        return replace(self, frame=self.frame[touches])


def read_buildings(path: Path, *, id_field: str | None = None) -> Buildings:
    """Read points or polygons from a vector file.

    Invalid polygons are repaired, heights dropped, curves drawn out; lines and missing geometries
    are kept as empty ones and counted in the warnings.

    Args:
        path: GeoPackage, GeoJSON, FlatGeobuf, GeoParquet, Shapefile (also zipped), File
            Geodatabase, or CSV with lon and lat columns; any CRS of the Earth.
        id_field: Column with unique ids; None takes uid, id or fid, else the format's own number
            of a feature (a GeoPackage's fid) or the row number.

    Raises:
        FootprintError: If the file cannot be read, holds no points or polygons or both, its CRS
            is unknown or of another planet, or the ids are missing or not unique.
    """
    vectors = read_vectors(path)
    frame = vectors.frame
    ids = feature_ids(
        frame,
        id_field,
        path,
        candidates=ID_COLUMNS,
        option="--id-field",
        numbers=vectors.numbers,
    )
    frame = frame.rename(columns=_new_names([str(name) for name in frame.columns]))
    frame.insert(0, "unit_id", ids)
    return Buildings(frame=frame, path=path, geometry=vectors.geometry, warnings=vectors.warnings)


def building_units(buildings: Buildings, scene: Scene, ground: ChipGround) -> list[Unit]:
    """Return one unit per building, in order, with the windows of its chips.

    A chip is centred on the building; a footprint larger than the chip gets a grid of chips over
    it. A building without a usable geometry has no window.

    Raises:
        FootprintError: If the scene has no CRS, or the polygons are so large that their chips are
            more than `MAX_CHIPS`.
    """
    chip = chip_size(scene.pixel_m, ground)
    shapes = _to_pixels(_in_scene_crs(buildings, scene), scene)
    _require_few_chips(shapes, chip, buildings)
    cols, rows = _centres(shapes)
    lons, lats = scene.lonlat(cols, rows)
    places = np.isfinite(lons) & np.isfinite(lats)
    return [
        Unit(
            row=int(row),
            unit_id=unit_id,
            kind=Kind.BUILDING,
            windows=chip_windows(shape, chip) if placed else (),
            lon=float(lon) if placed else None,
            lat=float(lat) if placed else None,
        )
        for row, unit_id, shape, placed, lon, lat in zip(
            buildings.frame.index,
            buildings.frame["unit_id"],
            shapes,
            places,
            lons,
            lats,
            strict=True,
        )
    ]


def _require_few_chips(shapes: np.ndarray, chip: ChipSize, buildings: Buildings) -> None:
    left, top, right, bottom = shapely.bounds(shapes).T
    columns, rows = (
        np.ceil((right - left) / chip.width_px),
        np.ceil((bottom - top) / chip.height_px),
    )
    chips = np.nan_to_num(np.maximum(columns, 1) * np.maximum(rows, 1))
    if chips.sum() > MAX_CHIPS:
        largest = int(chips.argmax())
        raise FootprintError(
            f"{buildings.path} would take {chips.sum():,.0f} chips, more than {MAX_CHIPS:,}, "
            f"{chips[largest]:,.0f} of them for {buildings.frame['unit_id'].iloc[largest]!r}: "
            "leave out what is no building"
        )


def _centres(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows of the centroids; NaN for empty geometries."""
    centres = np.full((len(shapes), 2), np.nan)
    placed = ~shapely.is_empty(shapes)
    centres[placed] = shapely.get_coordinates(shapely.centroid(shapes[placed]))
    return centres[:, 0], centres[:, 1]


def chip_windows(shape: BaseGeometry, chip: ChipSize) -> tuple[Window, ...]:
    """Return the chips of one footprint, both in pixels: one if it fits, else a grid over it."""
    left, top, right, bottom = shape.bounds
    centre = shape.centroid
    window = chip.around(centre.x, centre.y)
    if right - left <= chip.width_px and bottom - top <= chip.height_px:
        return (window,)
    columns = max(1, int(np.ceil((right - left) / chip.width_px - 1e-9)))
    rows = max(1, int(np.ceil((bottom - top) / chip.height_px - 1e-9)))
    # Chips in a row, centred on the bounding box: they cover it without overlap.
    first_col = (left + right - (columns - 1) * chip.width_px) / 2
    first_row = (top + bottom - (rows - 1) * chip.height_px) / 2
    windows = [
        chip.around(first_col + column * chip.width_px, first_row + row * chip.height_px)
        for row in range(rows)
        for column in range(columns)
    ]
    return tuple(window for window in windows if _box(window).intersects(shape))


def _box(window: Window) -> BaseGeometry:
    left, top = window.col_off, window.row_off
    box: BaseGeometry = shapely.box(left, top, left + window.width, top + window.height)
    return box


def _in_scene_crs(buildings: Buildings, scene: Scene) -> np.ndarray:
    """Return the geometries in the scene's CRS; those it cannot hold become empty."""
    if scene.crs is None:
        raise FootprintError(
            f"{scene.path} has no CRS, so {buildings.path} cannot be laid over it: give the scene "
            "a CRS, or leave out --buildings for a grid"
        )
    crs = ground_crs(scene.crs.to_wkt())
    shapes = buildings.frame.geometry.to_crs(crs).to_numpy().copy()
    shapes[~np.isfinite(shapely.bounds(shapes)).all(axis=1)] = shapely.Point()
    if crs.is_geographic:
        west, _, east, _ = scene.bounds
        return turned_to(shapes, (west + east) / 2)
    return np.asarray(shapes)


def _to_pixels(shapes: np.ndarray, scene: Scene) -> np.ndarray:
    inverse = ~scene.transform

    def pixels(xy: np.ndarray) -> np.ndarray:
        return np.column_stack((inverse.a * xy[:, 0] + inverse.c, inverse.e * xy[:, 1] + inverse.f))

    return np.asarray(shapely.transform(shapes, pixels))


def _new_names(names: list[str]) -> dict[str, str]:
    """Return new names for the columns that clash with ours."""
    taken, renamed = {name.lower() for name in names}, {}
    for name in names:
        if name.lower() in RESERVED:
            new = f"src_{name}"
            while new.lower() in taken:
                new = f"src_{new}"
            renamed[name] = new
    return renamed
