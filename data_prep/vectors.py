"""Read points or polygons from any vector file, repaired and counted."""

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import pyogrio
import shapely
from pandas.api.types import is_object_dtype
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from pyproj import CRS
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from damagenet.errors import FootprintError, SceneError
from data_prep.ground import to_lonlat

LON_NAMES = ("lon", "longitude", "lng", "x")
LAT_NAMES = ("lat", "latitude", "y")
UNREADABLE = (
    DataSourceError,
    DataLayerError,
    FeatureError,
    GeometryError,
    ShapelyError,
    OSError,
    ValueError,
    UnboundLocalError,
)
"""What a spoilt file raises; the last is a slip of pyogrio 0.13 over a CRS that is no UTF-8."""
EXACT = ("int", "uint", "bool", "datetime64[D]")
"""Types of fields that pandas would change where a value is missing, and dates, in all rows."""
NULLABLE = {
    pyarrow.bool_(): pd.BooleanDtype(),
    pyarrow.int16(): pd.Int16Dtype(),
    pyarrow.int32(): pd.Int32Dtype(),
    pyarrow.int64(): pd.Int64Dtype(),
}
_POLYGONS, _POINTS, _MULTIPOINT, _COLLECTION = (3, 6), (0,), 4, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What a vector file holds: points or polygons, in its own CRS and order."""

    frame: gpd.GeoDataFrame
    """All rows; what is no usable point or polygon has an empty geometry."""
    geometry: Literal["point", "polygon"]
    warnings: tuple[str, ...]


def read_vectors(path: Path) -> Vectors:
    """Read points or polygons (made MultiPolygon, valid, two-dimensional) from a file.

    Raises:
        FootprintError: If the file is missing, unreadable, without points or polygons, with both,
            or without a CRS that can be placed on the Earth.
    """
    if not path.exists():
        raise FootprintError(f"{path} does not exist: name a file of buildings or areas")
    reader = _READERS.get(path.suffix.lower(), _read_with_gdal)
    frame, told = reader(path)
    if frame.empty:
        raise FootprintError(f"{path} holds no features: nothing to assess in it")
    frame, crs_warnings = _with_crs(frame, path)
    shapes = _flat(frame.geometry.to_numpy())
    kind, shapes, lost = _one_kind(shapes, path)
    frame = frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=frame.crs))
    if frame.geometry.name != "geometry":
        frame = frame.rename_geometry("geometry")
    frame = _with_plain_values(frame)
    return Vectors(frame=frame, geometry=kind, warnings=(*told, *crs_warnings, *lost))


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


Read = tuple[gpd.GeoDataFrame, tuple[str, ...]]


def _read_with_gdal(path: Path) -> Read:
    _refuse_indirection(path)
    source = _in_zip(path) if path.name.lower().endswith(".shp.zip") else path
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            layers = pyogrio.list_layers(source)
            placed = [str(name) for name, kind in layers if kind is not None]
            frame = _read_layer(source, placed[0]) if placed else None
    except UNREADABLE as err:
        reason = str(err).partition("; It might help")[0]  # speaks of paths that GDAL may be given
        raise FootprintError(
            f"{path} cannot be read as a vector file ({reason}): copy it again, or name a "
            "GeoPackage, GeoJSON, FlatGeobuf, GeoParquet, Shapefile, File Geodatabase or CSV"
        ) from err
    if not isinstance(frame, gpd.GeoDataFrame):
        raise FootprintError(f"{path} holds no geometry: buildings need points or polygons")
    told = [f"{path}: {text}" for text in dict.fromkeys(str(item.message) for item in heard)]
    if len(placed) > 1:
        others = ", ".join(placed[1:])
        told.append(f"{path} has several layers: {placed[0]} is used, {others} not")
    return frame, tuple(told)


def _in_zip(path: Path) -> str:
    """Return GDAL's name of the shapefile in an archive, which may lie in a folder there."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as err:
        raise FootprintError(f"{path} is no ZIP archive: zip the shapefile again") from err
    # macOS adds a folder of its own to the archives it makes.
    folders = {n.parent for n in names if n.suffix.lower() == ".shp" and n.parts[0] != "__MACOSX"}
    inside = folders.pop() if len(folders) == 1 else PurePosixPath()
    return f"/vsizip/{path}/{inside}" if inside.parts else f"/vsizip/{path}"


def _read_layer(source: Path | str, layer: str) -> gpd.GeoDataFrame | pd.DataFrame:
    # Unclosed rings are common in shapefiles; "fix" closes them.
    leave_no_sidecars()
    frame = gpd.read_file(source, layer=layer, engine="pyogrio", on_invalid="fix")
    fields = pyogrio.read_info(source, layer=layer)
    kinds = dict(zip(fields["fields"], fields["dtypes"], strict=True))
    changed = [
        name
        for name, kind in kinds.items()
        if kind.startswith(EXACT) and name in frame and str(frame[name].dtype) != kind
    ]
    if not changed:
        return frame
    _, table = pyogrio.read_arrow(source, layer=layer, columns=changed, read_geometry=False)
    # A gap makes floats of whole numbers and of yes and no, which a large number does not survive.
    exact = table.to_pandas(types_mapper=NULLABLE.get)
    return frame.assign(**{name: exact[name].array for name in changed})


def _refuse_indirection(path: Path) -> None:
    """Refuse the XML files by which GDAL is sent to other files or to the network."""
    if not path.is_file():
        return  # a File Geodatabase is a folder
    with path.open("rb") as file:
        if b"<OGR" in file.read(1024):
            raise FootprintError(
                f"{path} is a GDAL description that points at other data, which is not followed: "
                "name the data itself"
            )


def _read_parquet(path: Path) -> Read:
    try:
        return gpd.read_parquet(path, to_pandas_kwargs={"types_mapper": NULLABLE.get}), ()
    except (*UNREADABLE, pyarrow.ArrowException, KeyError, TypeError) as err:
        reason = str(err).partition("\n")[0]  # what follows is advice for programmers
        raise FootprintError(
            f"{path} is no GeoParquet file with a geometry ({reason}): write it again as "
            "GeoParquet, or as CSV with lon and lat"
        ) from err


def _read_csv(path: Path) -> Read:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError, UnicodeDecodeError) as err:
        raise FootprintError(
            f"{path} cannot be read as CSV ({err}): write it again, with columns lon and lat"
        ) from err
    lon, lat = _column(table, LON_NAMES), _column(table, LAT_NAMES)
    if lon is None or lat is None:
        raise FootprintError(
            f"{path} has no columns lon and lat (it has {', '.join(map(str, table.columns))}): "
            "name them lon and lat"
        )
    lons, lats = (pd.to_numeric(table[name], errors="coerce") for name in (lon, lat))
    points = gpd.points_from_xy(lons, lats)
    points[(lons.isna() | lats.isna()).to_numpy()] = None
    # Without a CRS, so that the range of the coordinates is checked like any other's.
    return gpd.GeoDataFrame(table, geometry=points), ()


_READERS: dict[str, Callable[[Path], Read]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".geoparquet": _read_parquet,
}


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    by_lower = {str(name).strip().lower(): str(name) for name in table.columns}
    return next((by_lower[name] for name in names if name in by_lower), None)


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


def leave_no_sidecars() -> None:
    """Let GDAL write no `.aux.xml` beside a GeoPackage that is only read."""
    pyogrio.set_gdal_config_options({"GDAL_PAM_ENABLED": "NO"})
