"""Read the files of vectors that GDAL, GeoParquet and CSV know, as they are."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from shapely.errors import ShapelyError

from damagenet.errors import FootprintError

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

Read = tuple[gpd.GeoDataFrame, tuple[str, ...]]
"""Rows, and sentences about them. Where the format itself numbers its features (`fid` of a
GeoPackage), the index holds the numbers and is called as the format calls them."""
AREAL = ("polygon", "point", "surface", "collection", "unknown", "geometry")
"""What the kind of a layer says of one that may hold points or polygons."""


def read_rows(path: Path) -> Read:
    """Return the rows of a vector file, and what is to be said of it.

    Raises:
        FootprintError: If it cannot be read, holds no geometry, or points at other files.
    """
    reader = _READERS.get(path.suffix.lower(), _read_with_gdal)
    with np.errstate(invalid="ignore"):  # a coordinate that is NaN; `read_vectors` counts them
        return reader(path)


def _read_with_gdal(path: Path) -> Read:
    _refuse_indirection(path)
    source = _in_zip(path) if path.name.lower().endswith(".shp.zip") else path
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            layers = pyogrio.list_layers(source)
            placed = [str(name) for name, kind in layers if kind is not None]
            areal = [str(name) for name, kind in layers if _may_hold_buildings(kind)]
            chosen = (areal or placed or [""])[0]
            frame = _read_layer(source, chosen) if placed else None
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
        others = ", ".join(name for name in placed if name != chosen)
        told.append(f"{path} has several layers: {chosen} is used, {others} not")
    return frame, tuple(told)


def _may_hold_buildings(kind: str | None) -> bool:
    return kind is not None and any(word in kind.lower() for word in AREAL)


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
    fields = pyogrio.read_info(source, layer=layer)
    numbers = str(fields.get("fid_column") or "")
    frame = gpd.read_file(
        source, layer=layer, engine="pyogrio", on_invalid="fix", fid_as_index=bool(numbers)
    )
    frame.index.name = numbers or None
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
        # As text, or ids lose their zeros and the words NA and 1E5 their meaning.
        text = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError, UnicodeDecodeError) as err:
        raise FootprintError(
            f"{path} cannot be read as CSV ({err}): write it again, with columns lon and lat"
        ) from err
    table = text.apply(_plain)
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


def _plain(column: pd.Series) -> pd.Series:
    """Return numbers, or yes and no, where every text of a column writes one and nothing else."""
    said = column.dropna()
    if said.empty:
        return column
    if said.isin(TRUTHS).all():
        return column.map(TRUTHS.get).astype("boolean" if column.isna().any() else "bool")
    if not said.str.fullmatch(NUMBER).all() or said.str.len().max() > MOST_DIGITS:
        return column
    whole = not said.str.contains(".", regex=False).any()
    numbers = pd.to_numeric(column)
    return numbers.astype("Int64") if whole and column.isna().any() else numbers


TRUTHS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?"
"""What is a number and no code: without zeros before it and without an exponent."""
MOST_DIGITS = 16
"""Of a number, sign and point among them, that a float64 does not change."""

_READERS: dict[str, Callable[[Path], Read]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".geoparquet": _read_parquet,
}


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    by_lower = {str(name).strip().lower(): str(name) for name in table.columns}
    return next((by_lower[name] for name in names if name in by_lower), None)


def leave_no_sidecars() -> None:
    """Let GDAL write no `.aux.xml` beside a GeoPackage that is only read."""
    pyogrio.set_gdal_config_options({"GDAL_PAM_ENABLED": "NO"})
