"""`damage.geojson`: the records as RFC 7946 GeoJSON, longitude and latitude."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from damagenet.outputs.atomic import appears
from damagenet.outputs.batches import Batch, Geometries
from damagenet.outputs.layer import VectorLayer, check_formats
from damagenet.outputs.words import statements
from data_prep.ground import turned_to

DECIMALS = 7
"""Of a degree: about a centimetre."""


def write_geojson(path: Path, layer: VectorLayer, batches: Iterable[Batch]) -> None:
    """Write all records as one feature collection, feature by feature.

    Coordinates are WGS 84, rounded to 7 decimals; outer rings run counter-clockwise; polygons
    that cross the antimeridian are cut there. Properties stand in the order of the columns.

    Raises:
        OutputError: If the records have no CRS, or the file cannot be written.
    """
    check_formats(layer.crs, ["geojson"])
    to_lonlat = Transformer.from_crs(CRS.from_user_input(layer.crs), 4326, always_xy=True)
    with appears(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        said = json.dumps(statements(layer.card, layer.trust), ensure_ascii=False)
        # A foreign member (RFC 7946, 6.1), which other readers pass over.
        file.write(f'{{"type":"FeatureCollection","damagenet":{said},"features":[')
        separator = "\n"
        for batch in batches:
            placed = lonlat_geometries(batch.geometry, to_lonlat)
            for feature in feature_texts(batch.table, placed):
                file.write(separator + feature)
                separator = ",\n"
        file.write("\n]}\n")


def lonlat_geometries(geometry: Geometries, to_lonlat: Transformer) -> Geometries:
    """Return geometries as RFC 7946 wants them; what cannot be placed on Earth becomes None."""

    def lonlat(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(to_lonlat.transform(*points.T), axis=1)

    placed: Geometries = turned_to(shapely.transform(geometry, lonlat), 0)
    west, _, east, _ = shapely.bounds(placed).T
    for index in np.flatnonzero(east - west > 180):
        placed[index] = _cut_at_antimeridian(placed[index])
    rounded = _still_valid(shapely.transform(placed, _rounded))
    rounded[~np.isfinite(shapely.bounds(rounded)).all(axis=1)] = None
    oriented: Geometries = shapely.orient_polygons(rounded, exterior_cw=False)
    return oriented


def feature_texts(
    table: pa.Table, placed: Geometries, ids: list[str] | None = None
) -> Iterator[str]:
    """Yield each record as a GeoJSON feature.

    Args:
        table: Its columns are the properties, in their order.
        placed: Geometries of `lonlat_geometries`, one for each row.
        ids: The features' own ids; without them they have none.
    """
    geometries = shapely.to_geojson(placed)
    keys = [_json_texts([name])[0].replace("%", "%%") for name in table.column_names]
    properties = ",".join(f"{key}:%s" for key in keys)
    known = "" if ids is None else '"id":%s,'
    feature = f'{{"type":"Feature",{known}"properties":{{{properties}}},"geometry":%s}}'
    values = [_json_texts(_values(column)) for column in table.columns]
    places = [geometry or "null" for geometry in geometries]
    columns = values if ids is None else [_json_texts(ids), *values]
    return (feature % row for row in zip(*columns, places, strict=True))


def _json_texts(values: list[object] | list[str]) -> list[str]:
    """Return each value as JSON; one call for all of them takes a fraction of the time."""
    # JSON writes a line break inside a text as \\n, so that one between values is unmistakable.
    text = json.dumps(values, ensure_ascii=False, separators=("\n", ":"), allow_nan=False)
    return text[1:-1].split("\n") if values else []


def _values(column: pa.ChunkedArray) -> list[object]:
    """Return a column as values that JSON knows, None where there is no number."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    values: list[object] = column.to_pylist()
    if pa.types.is_temporal(column.type):
        return [value.isoformat() if isinstance(value, dt.date) else value for value in values]
    return values


def _rounded(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    # Adding zero turns -0.0 into 0.0.
    return np.round(coordinates, DECIMALS) + 0.0


def _still_valid(geometry: Geometries) -> Geometries:
    """Mend polygons that rounding made cross themselves; what would vanish stays as it is."""
    for index in np.flatnonzero(~shapely.is_valid(geometry) & ~shapely.is_missing(geometry)):
        if not np.isfinite(shapely.bounds(geometry[index])).all():
            continue
        mended = shapely.set_precision(shapely.make_valid(geometry[index]), 10.0**-DECIMALS)
        polygons = [one for one in shapely.get_parts(mended) if isinstance(one, shapely.Polygon)]
        if polygons:
            geometry[index] = shapely.transform(shapely.multipolygons(polygons), _rounded)
    return geometry


def _cut_at_antimeridian(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return a multi-polygon whose parts lie on either side of 180 degrees (RFC 7946, 3.1.9)."""
    eastward = shapely.transform(geometry, lambda xy: xy + np.where(xy[:, :1] < 0, (360, 0), 0))
    west_part = shapely.intersection(eastward, shapely.box(0, -90, 180, 90))
    east_part = shapely.intersection(eastward, shapely.box(180, -90, 540, 90))
    shifted = shapely.transform(east_part, lambda xy: xy - (360, 0))
    polygons = [
        part
        for half in (west_part, shifted)
        for part in shapely.get_parts(half)
        if isinstance(part, shapely.Polygon)
    ]
    return shapely.multipolygons(polygons)
