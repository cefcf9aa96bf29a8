"""`damage.parquet` and `damage.csv`: the records as tables for programs and for spreadsheets."""

import csv
import datetime as dt
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from damagenet.outputs.atomic import appears, unwritable
from damagenet.outputs.batches import Batch, regrouped
from damagenet.outputs.layer import GEOMETRY_COLUMN, VectorLayer
from damagenet.outputs.words import statements

GEOPARQUET_VERSION = "1.1.0"
ROWS_PER_GROUP = 50_000


def write_geoparquet(path: Path, layer: VectorLayer, batches: Iterable[Batch]) -> None:
    """Write all records as GeoParquet 1.1 with WKB geometries.

    Row groups hold a fixed number of rows, so that equal records make equal bytes.

    Raises:
        OutputError: If the file cannot be written.
    """
    schema = layer.types.append(pa.field(GEOMETRY_COLUMN, pa.binary()))
    extent = np.array([np.inf, np.inf, -np.inf, -np.inf])
    with appears(path) as temporary:
        try:
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for batch in regrouped(batches, rows=ROWS_PER_GROUP, types=layer.types):
                    table = batch.table.append_column(GEOMETRY_COLUMN, batch.wkb)
                    writer.write_table(table.combine_chunks(), row_group_size=ROWS_PER_GROUP)
                    extent = _grown(extent, batch)
                said = json.dumps(statements(layer.card, layer.trust), ensure_ascii=False)
                writer.add_key_value_metadata({"geo": _geo(layer, extent), "damagenet": said})
        except pa.ArrowException as err:
            raise unwritable(path, err) from err


def write_csv(path: Path, layer: VectorLayer, batches: Iterable[Batch]) -> None:
    """Write all records as CSV (RFC 4180, UTF-8) without geometries; lon and lat are columns.

    What has no value is left blank.

    Raises:
        OutputError: If the file cannot be written.
    """
    with (
        appears(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(layer.types.names)
        for batch in batches:
            writer.writerows([_cell(value) for value in row] for row in batch.rows)


def _grown(extent: np.ndarray, batch: Batch) -> np.ndarray:
    """Return west, south, east, north of what was written so far."""
    bounds = np.vstack([extent, shapely.bounds(batch.geometry)])  # NaN where there is no geometry
    return np.concatenate([np.fmin.reduce(bounds[:, :2]), np.fmax.reduce(bounds[:, 2:])])


def _geo(layer: VectorLayer, extent: np.ndarray) -> str:
    """Return the `geo` metadata of the GeoParquet specification as JSON."""
    column: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": ["Point" if layer.geometry == "point" else "MultiPolygon"],
        "crs": CRS.from_user_input(layer.crs).to_json_dict() if layer.crs else None,
    }
    if np.isfinite(extent).all():
        column["bbox"] = [float(side) for side in extent]
    return json.dumps(
        {
            "version": GEOPARQUET_VERSION,
            "primary_column": GEOMETRY_COLUMN,
            "columns": {GEOMETRY_COLUMN: column},
        }
    )


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
