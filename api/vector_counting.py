"""What a vector file holds, counted piece by piece against the limits, never held as a whole."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError

from damagenet.errors import DamageNetError, FootprintError

logger = logging.getLogger(__name__)

FEATURES_AT_A_TIME = 4096
ROWS_AT_A_TIME = 50_000
MAX_FIELDS = 500
"""Columns of attributes."""
MAX_LINE_BYTES = 2**20
"""Longest line of a CSV."""
START_CHARACTERS = 2**16
"""Within them a GeoJSON must say what it is; a bare geometry would be held in memory whole."""
SQLITE_STEPS = 10_000_000
"""Steps of SQLite's machine that looking into a GeoPackage may take."""


class TooMuchError(DamageNetError):
    """A file holds more than the service takes."""


@dataclass(slots=True, kw_only=True)
class Count:
    """What was counted so far, against its limits. Changed in place."""

    path: Path
    max_features: int
    max_vertices: int
    max_bytes: int
    features: int = 0
    vertices: int = 0

    def expect(self, features: int) -> None:
        """Raise TooMuchError where a header claims more features than are taken."""
        if features > self.max_features:
            raise TooMuchError(
                f"{self.path.name} has more than {self.max_features:,} features (max_features): "
                "send fewer"
            )

    def add(self, shapes: np.ndarray) -> None:
        """Count geometries; refuse them beyond a limit, or with coordinates that are no numbers."""
        self.features += len(shapes)
        self.expect(self.features)
        self.vertices += int(shapely.get_num_coordinates(shapes).sum())
        if self.vertices > self.max_vertices:
            raise TooMuchError(
                f"{self.path.name} has more than {self.max_vertices:,} vertices (max_vertices): "
                "send fewer, or simplify them"
            )
        if not np.isfinite(shapely.get_coordinates(shapes)).all():
            raise FootprintError(
                f"{self.path.name} has coordinates that are not finite (NaN, inf): mend them"
            )

    def add_wkb(self, values: np.ndarray) -> None:
        """Count geometries as well-known binary; what cannot be read counts as none."""
        with np.errstate(invalid="ignore"):  # NaN is found by `add`
            self.add(shapely.from_wkb(values, on_invalid="ignore"))

    def check_fields(self, number: int) -> None:
        """Raise TooMuchError for a table with too many columns."""
        if number > MAX_FIELDS:
            raise TooMuchError(
                f"{self.path.name} has {number:,} columns, more than {MAX_FIELDS}: leave some out"
            )


def count_vectors(count: Count, kind: str) -> None:
    """Read a file once, counting; raise TooMuchError or FootprintError where it is refused.

    Args:
        count: The file and its limits.
        kind: What its first bytes say that it is: a name of `_COUNTERS`.
    """
    try:
        _COUNTERS[kind](count)
    except MemoryError as err:
        raise TooMuchError(f"{count.path.name} takes too much memory to read: cut it up") from err
    if not count.features:
        raise FootprintError(
            f"{count.path.name} holds no features that can be read: export it again"
        )


def _count_with_gdal(count: Count) -> None:
    import pyogrio

    # The archive is one that `rezip` wrote.
    zipped = count.path.name.endswith(".shp.zip")
    source = f"/vsizip/{count.path}" if zipped else str(count.path)
    with _readable(count.path):
        layers = [str(name) for name, kind in pyogrio.list_layers(source) if kind is not None]
        if layers:
            count.check_fields(len(pyogrio.read_info(source, layer=layers[0])["fields"]))
            _count_layer(count, source, layers[0])


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Blame the file for what GDAL raises."""
    from pyarrow import ArrowException
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError

    unreadable = (DataSourceError, DataLayerError, FeatureError, GeometryError, ShapelyError)
    try:
        yield
    except FootprintError:
        raise
    except (*unreadable, ArrowException, OSError, ValueError, UnboundLocalError) as err:
        # What the library says is for the log of whoever runs the service.
        logger.warning("%s: %s", path, err)
        raise FootprintError(
            f"{path.name} cannot be read as what it says it is: it is damaged, export it again"
        ) from err


def _count_layer(count: Count, source: str, layer: str | None) -> None:
    import pyogrio

    with pyogrio.open_arrow(
        source, layer=layer, columns=[], batch_size=FEATURES_AT_A_TIME, use_pyarrow=True
    ) as (meta, reader):
        for batch in reader:
            shapes = batch.column(meta["geometry_name"] or "wkb_geometry")
            count.add_wkb(shapes.to_numpy(zero_copy_only=False))


def _count_geopackage(count: Count) -> None:
    """Refuse layers that are programs before GDAL runs them."""
    address = f"{count.path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as file:
            file.set_progress_handler(lambda: 1, SQLITE_STEPS)
            views = file.execute(
                "SELECT name FROM sqlite_master WHERE type = 'view' "
                "AND lower(name) IN (SELECT lower(table_name) FROM gpkg_contents)"
            ).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as err:  # a broken schema, told in broken text
        raise FootprintError(
            f"{count.path.name} is no GeoPackage that can be read: export it again"
        ) from err
    if views:
        raise FootprintError(
            f"{count.path.name} has a view for a layer, which is a program: export it as a table"
        )
    _count_with_gdal(count)


def _count_geojson(count: Count) -> None:
    with count.path.open(encoding="utf-8", errors="replace") as file:
        start = file.read(START_CHARACTERS)
    if _top_level_type(start.lstrip("\ufeff")) != "FeatureCollection":
        raise FootprintError(
            f"{count.path.name} does not begin as a FeatureCollection: export it again as GeoJSON"
        )
    # Opened this one time, as GDAL reads the whole text at each opening.
    with _readable(count.path):
        _count_layer(count, str(count.path), None)


def _top_level_type(text: str) -> object:
    """Return the first member `type` of a JSON object; None where it does not come early."""
    decoder = json.JSONDecoder()
    place = _after(text, 0, "{")
    try:
        while place:
            key, place = decoder.raw_decode(text, place)
            value, place = decoder.raw_decode(text, _after(text, place, ":"))
            if key == "type":
                return value
            place = _after(text, place, ",")
    except (ValueError, RecursionError):
        return None
    return None


def _after(text: str, place: int, mark: str) -> int:
    """Return the place of the next value after a mark; 0 where the mark does not come next."""
    rest = text[place:].lstrip()
    if not rest.startswith(mark):
        return 0
    return len(text) - len(rest[1:].lstrip())


def _count_parquet(count: Count) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    unreadable = (pyarrow.ArrowException, ShapelyError)
    try:
        with ParquetFile(count.path) as file:
            # What the header claims is checked first; what it hides is counted as it comes.
            count.expect(file.metadata.num_rows)
            count.check_fields(len(file.schema_arrow.names))
            _check_unpacked(count, file)
            column = _geometry_column(file.schema_arrow.metadata or {})
            for batch in file.iter_batches(FEATURES_AT_A_TIME, columns=[column]):
                count.add_wkb(batch.column(0).to_numpy(zero_copy_only=False))
    except FootprintError:
        raise
    except (*unreadable, OSError, ValueError, LookupError, TypeError) as err:
        raise FootprintError(
            f"{count.path.name} is no GeoParquet with its geometry as WKB: write it again"
        ) from err


def _check_unpacked(count: Count, file: Any) -> None:  # pyarrow has no types
    groups = file.metadata
    unpacked = sum(
        groups.row_group(number).total_byte_size for number in range(groups.num_row_groups)
    )
    if unpacked > count.max_bytes:
        raise TooMuchError(
            f"{count.path.name} unpacks to {unpacked:,} bytes, more than {count.max_bytes:,} "
            "(max_vector_bytes): leave out columns"
        )


def _geometry_column(metadata: dict[bytes, bytes]) -> str:
    geo = json.loads(metadata[b"geo"])
    name = str(geo["primary_column"])
    if geo["columns"][name]["encoding"] != "WKB":
        raise ValueError("only WKB is counted")
    return name


def _count_csv(count: Count) -> None:
    import pandas as pd

    from data_prep.vector_files import LAT_NAMES, LON_NAMES

    _check_lines(count)
    wanted = {*LON_NAMES, *LAT_NAMES}
    try:
        with pd.read_csv(
            count.path,
            chunksize=ROWS_AT_A_TIME,
            usecols=lambda name: str(name).strip().lower() in wanted,
        ) as tables:
            for table in tables:
                _count_rows(count, table.apply(pd.to_numeric, errors="coerce").to_numpy(float))
    except FootprintError:
        raise
    except (OSError, ValueError) as err:
        raise FootprintError(f"{count.path.name} cannot be read as CSV: export it again") from err


def _count_rows(count: Count, numbers: np.ndarray) -> None:
    """Count rows of longitudes and latitudes; a gap is no fault, the engine reports it."""
    count.features += len(numbers)
    count.expect(count.features)
    if np.isinf(numbers).any():
        raise FootprintError(
            f"{count.path.name} has coordinates that are not finite (inf): mend them"
        )


def _check_lines(count: Count) -> None:
    """Refuse lines that are no lines, before a parser makes columns or fields of them."""
    with count.path.open("rb") as file:
        first = True
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES or b"\x00" in line:
                raise FootprintError(f"{count.path.name} is no text of lines: export it as CSV")
            if first:
                count.check_fields(line.count(b",") + 1)
            first = False


_COUNTERS: dict[str, Callable[[Count], None]] = {
    "CSV": _count_csv,
    "FlatGeobuf": _count_with_gdal,
    "GeoJSON": _count_geojson,
    "GeoPackage": _count_geopackage,
    "GeoParquet": _count_parquet,
    "Shapefile": _count_with_gdal,
}
