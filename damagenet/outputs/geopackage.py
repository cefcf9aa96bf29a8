"""`damage.gpkg`: the layer `damage`, with its style and with the honest words in the metadata."""

import sqlite3
import warnings
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears, unwritable
from damagenet.outputs.batches import Batch, regrouped
from damagenet.outputs.layer import VectorLayer
from damagenet.outputs.style import vector_qml
from damagenet.outputs.words import abstract, statements

LAYER = "damage"
ROWS_PER_APPEND = 20_000
_PYOGRIO_ERRORS = (DataSourceError, DataLayerError, FeatureError, FieldError)

# As QGIS itself creates it when a style is saved into a GeoPackage.
_STYLE_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
_STYLE_ROW = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column,
    styleName, styleQML, styleSLD, useAsDefault, description, owner)
VALUES ('', '', ?, ?, 'damage', ?, '', 1, 'damaged, uncertain, undamaged, not judged', '')
"""


def write_geopackage(path: Path, layer: VectorLayer, batches: Iterable[Batch]) -> None:
    """Write all records as a GeoPackage that QGIS opens in colour.

    The caller's column names are kept, but SQLite knows no case: of two that differ in case alone
    the second gets a number.

    Raises:
        OutputError: If the file cannot be written.
    """
    with appears(path) as temporary:
        geometry, names = _names(layer)
        try:
            written = _append_all(temporary, layer, batches, geometry=geometry, names=names)
            _finish(temporary, layer, geometry, expected=written)
        except (*_PYOGRIO_ERRORS, sqlite3.Error) as err:
            raise unwritable(path, err) from err


def _append_all(
    path: Path, layer: VectorLayer, batches: Iterable[Batch], *, geometry: str, names: list[str]
) -> int:
    """Append batch by batch and return the number of records."""
    rows = 0
    regular = regrouped(batches, rows=ROWS_PER_APPEND, types=layer.types)
    for number, batch in enumerate(regular):
        table = batch.table.rename_columns(names).append_column(geometry, batch.wkb)
        with warnings.catch_warnings():
            # Pixel coordinates have no CRS, and that is meant.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            pyogrio.write_arrow(
                table,
                path,
                layer=LAYER,
                driver="GPKG",
                geometry_name=geometry,
                geometry_type="Point" if layer.geometry == "point" else "MultiPolygon",
                crs=layer.crs,
                append=number > 0,
                **(_creation(layer, geometry) if number == 0 else {}),
            )
        rows += table.num_rows
    return rows


def _creation(layer: VectorLayer, geometry: str) -> dict[str, object]:
    return {
        "layer_metadata": statements(layer.card, layer.trust),
        "dataset_metadata": statements(layer.card, layer.trust),
        # Older readers warn of 1.4, of which nothing is used here.
        "dataset_options": {"VERSION": "1.2"},
        "layer_options": {
            "FID": _free("fid", [*layer.types.names, geometry]),
            "GEOMETRY_NAME": geometry,
            "IDENTIFIER": f"damage: {layer.card.headline}",
            "DESCRIPTION": abstract(layer.card, layer.trust),
        },
    }


def _finish(path: Path, layer: VectorLayer, geometry: str, *, expected: int) -> None:
    """Embed the style, and make sure that every record arrived: a full disk may stay silent."""
    with closing(sqlite3.connect(path)) as database, database:
        # Waiting for the disk guards against power cuts; the file is not yet in its place.
        database.execute("PRAGMA synchronous = OFF")
        (rows, shapes) = database.execute(
            f'SELECT count(*), count("{geometry}") FROM "{LAYER}"'
        ).fetchone()
        (indexed,) = database.execute(f'SELECT count(*) FROM "rtree_{LAYER}_{geometry}"').fetchone()
        if (rows, indexed) != (expected, shapes):
            raise OutputError(
                f"{path.name} took {rows} of {expected} records and indexed {indexed}: "
                "free space on the disk"
            )
        database.execute(_STYLE_TABLE)
        database.execute(_STYLE_ROW, (LAYER, geometry, vector_qml(layer.geometry)))


def _names(layer: VectorLayer) -> tuple[str, list[str]]:
    """Return the geometry column's name and the columns' names, all distinct to SQLite."""
    names: list[str] = []
    for name in layer.types.names:
        names.append(_free(name, names))
    return _free("geom", names), names


def _free(name: str, taken: list[str]) -> str:
    lower = {other.lower() for other in taken}
    candidate, number = name, 2
    while candidate.lower() in lower:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
