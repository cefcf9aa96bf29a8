"""The units of a finished assessment as what labels stand on: buildings, or centres of cells."""

from collections.abc import Collection
from pathlib import Path

import geopandas as gpd

from api.problems import ServiceError
from damagenet.labels import Kind
from data_prep.footprints import Buildings

TABLE = "damage.parquet"
COLUMNS = ["unit_id", "kind", "lon", "lat", "geometry"]
SHOWN = 4
"""Ids that are named where some are refused."""


def read_units(results: Path, ids: Collection[str] | None = None) -> Buildings:
    """Return units of a run with their footprints; a cell's is the point in its middle.

    A chip around that point is the chip of the cell, so that labels, suggestions and adaptation
    see of a cell what the assessment saw.

    Args:
        results: Folder of a finished run.
        ids: Which units; None means all that have a place.

    Raises:
        ServiceError: 422 if units do not exist (they are named) or have no place on the Earth.
    """
    table = results / TABLE
    if not table.exists():
        raise ServiceError(
            422, "this assessment has no common map, so that its units have no place to label"
        )
    chosen = None if ids is None else [("unit_id", "in", list(ids))]
    frame = gpd.read_parquet(table, columns=COLUMNS, filters=chosen)
    placed = frame["lon"].notna() & frame["lat"].notna() & (frame.crs is not None)
    if ids is not None:
        _require_all(ids, set(frame["unit_id"]), "do not exist in this assessment")
        _require_all(ids, set(frame["unit_id"][placed]), "have no place on the Earth")
    frame = frame[placed].reset_index(drop=True)
    cells = bool((frame["kind"] == Kind.CELL.value).any())
    if cells:
        points = gpd.points_from_xy(frame["lon"], frame["lat"])
        frame = frame.set_geometry(gpd.GeoSeries(points, crs=4326))
    points_only = cells or bool((frame.geom_type == "Point").any())
    return Buildings(
        frame=frame[["unit_id", "geometry"]],
        path=table,
        geometry="point" if points_only else "polygon",
    )


def _require_all(ids: Collection[str], found: set[str], fault: str) -> None:
    missing = [one for one in ids if one not in found]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ServiceError(
            422,
            f"units {', '.join(missing[:SHOWN])}{more} {fault}: nothing was kept of these labels",
        )
