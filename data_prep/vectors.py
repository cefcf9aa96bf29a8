"""Read points or polygons from any vector file, repaired and counted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pandas.api.types import is_object_dtype
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from damagenet.errors import FootprintError, SceneError
from data_prep.ground import to_lonlat
from data_prep.vector_files import read_rows

_POLYGONS, _POINTS, _MULTIPOINT, _COLLECTION = (3, 6), (0,), 4, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What a vector file holds: points or polygons, in its own CRS and order."""

    frame: gpd.GeoDataFrame
    """All rows; what is no usable point or polygon has an empty geometry."""
    geometry: Literal["point", "polygon"]
    warnings: tuple[str, ...]
    numbers: pd.Series | None = None
    """The format's own number of each row, called as the format calls it (`fid`), if it has any."""


def read_vectors(path: Path) -> Vectors:
    """Read points or polygons (made MultiPolygon, valid, two-dimensional) from a file.

    Raises:
        FootprintError: If the file is missing, unreadable, without points or polygons, with both,
            or without a CRS that can be placed on the Earth.
    """
    if not path.exists():
        raise FootprintError(f"{path} does not exist: name a file of buildings or areas")
    frame, told = read_rows(path)
    if frame.empty:
        raise FootprintError(f"{path} holds no features: nothing to assess in it")
    numbers = frame.index.to_series() if frame.index.name else None
    frame, columns_lost = _one_geometry(frame.reset_index(drop=True), path)
    frame, crs_warnings = _with_crs(frame, path)
    shapes = _flat(frame.geometry.to_numpy())
    kind, shapes, lost = _one_kind(shapes, path)
    frame = frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=frame.crs))
    frame = _with_plain_values(frame)
    return Vectors(
        frame=frame,
        geometry=kind,
        warnings=(*told, *columns_lost, *crs_warnings, *lost),
        numbers=numbers,
    )


def _one_geometry(frame: gpd.GeoDataFrame, path: Path) -> tuple[gpd.GeoDataFrame, tuple[str, ...]]:
    """Return rows with one geometry, called so: GeoParquet may hold several, by any names."""
    kinds = {str(name): str(kind) for name, kind in frame.dtypes.items()}
    others = [n for n, kind in kinds.items() if kind == "geometry" and n != frame.geometry.name]
    frame = frame.drop(columns=others)
    if frame.geometry.name != "geometry":
        if "geometry" in frame:
            frame = frame.rename(columns={"geometry": "src_geometry"})
        frame = frame.rename_geometry("geometry")
    told = f"{path} has further geometries, which are left out: {', '.join(others)}"
    return frame, (told,) if others else ()


def ground_crs(wkt: str) -> CRS:
    """Return the CRS of a text, which places things on the Earth.

    Raises:
        FootprintError: If it does not.
    """
    try:
        to_lonlat(wkt)
    except SceneError as err:
        raise FootprintError(str(err)) from err
    return CRS.from_user_input(wkt)


def _with_crs(frame: gpd.GeoDataFrame, path: Path) -> tuple[gpd.GeoDataFrame, tuple[str, ...]]:
    if frame.crs is not None:
        try:
            ground_crs(frame.crs.to_wkt())
        except FootprintError as err:
            raise FootprintError(f"{path}: {err}") from err
        return frame, ()
    west, south, east, north = frame.total_bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise FootprintError(
            f"{path} has no CRS and its coordinates ({west:.6g} {south:.6g} to {east:.6g} "
            f"{north:.6g}) are no degrees: give it a CRS"
        )
    told = path.suffix.lower() == ".csv"
    warning = f"{path} has no CRS: its coordinates are taken for lon and lat (WGS 84)"
    return frame.set_crs(4326), () if told else (warning,)


def _with_plain_values(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return lists and objects, which JSON and Parquet may hold, as JSON text."""
    for name, values in frame.items():
        if (
            is_object_dtype(values.dtype)
            and values.map(lambda value: isinstance(value, list | dict | np.ndarray)).any()
        ):
            frame[name] = values.map(_json_text)
    return frame


def _json_text(value: object) -> object:
    if value is None or value is pd.NA or isinstance(value, str | float):
        return value
    return json.dumps(value, ensure_ascii=False, default=_jsonable)


def _jsonable(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def _flat(shapes: np.ndarray) -> np.ndarray:
    """Return valid two-dimensional geometries; single multi-points become points."""
    flat = shapely.force_2d(shapes)
    places, of = shapely.get_coordinates(flat, return_index=True)
    # What lies nowhere cannot be repaired either; a missing geometry is counted as unusable.
    flat[np.unique(of[~np.isfinite(places).all(axis=1)])] = None
    invalid = ~shapely.is_valid(flat) & ~shapely.is_missing(flat)
    flat[invalid] = shapely.make_valid(flat[invalid])
    single = (shapely.get_type_id(flat) == _MULTIPOINT) & (shapely.get_num_geometries(flat) == 1)
    flat[single] = shapely.get_geometry(flat[single], 0)
    collections = shapely.get_type_id(flat) == _COLLECTION
    flat[collections] = [_polygons_of(shape) for shape in flat[collections]]
    return np.asarray(flat)


def _polygons_of(collection: shapely.GeometryCollection) -> BaseGeometry:
    """Return the polygons of a mixed geometry, which repairing may leave beside stray lines."""
    parts = [part for part in collection.geoms if shapely.get_type_id(part) in _POLYGONS]
    return shapely.union_all(parts) if parts else collection


def _one_kind(
    shapes: np.ndarray, path: Path
) -> tuple[Literal["point", "polygon"], np.ndarray, tuple[str, ...]]:
    types = np.where(shapely.is_empty(shapes), -1, shapely.get_type_id(shapes))
    points, polygons = np.isin(types, _POINTS), np.isin(types, _POLYGONS)
    if points.any() and polygons.any():
        raise FootprintError(
            f"{path} mixes {points.sum()} points and {polygons.sum()} polygons: split it in two"
        )
    if not points.any() and not polygons.any():
        raise FootprintError(f"{path} holds no points or polygons: buildings need one or the other")
    usable = points | polygons
    lost = int((~usable).sum())
    told = (
        (f"{path}: {lost} of {len(shapes)} features are no usable point or polygon: not judged",)
        if lost
        else ()
    )
    if points.any():
        return "point", _emptied(shapes, ~usable, shapely.Point()), told
    shapes = _emptied(shapes, ~usable, shapely.MultiPolygon())
    single = shapely.get_type_id(shapes) == _POLYGONS[0]
    shapes[single] = [shapely.multipolygons([shape]) for shape in shapes[single]]
    return "polygon", shapes, told


def _emptied(shapes: np.ndarray, where: np.ndarray, empty: BaseGeometry) -> np.ndarray:
    emptied = shapes.copy()
    emptied[where] = empty
    return emptied
