"""Areas to count in (tracts, blocks, a grid), and which units lie in which."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.errors import EvaluationError, FootprintError
from data_prep.ids import feature_ids
from data_prep.vectors import read_vectors

AREA_ID_COLUMNS = ("area_id", "geoid", "id", "name")
"""Columns that are taken for ids of areas unasked, upper or lower case."""
NO_AREA = -1

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Areas:
    """The areas of one file, in its order.

    Attributes:
        ids: One id per area, as text.
        shapes: Their polygons in the file's CRS; empty where a feature has none.
        path: The file.
        warnings: What reading it had to say.
    """

    ids: tuple[str, ...]
    shapes: gpd.GeoSeries
    path: Path
    warnings: tuple[str, ...] = ()


def read_areas(path: Path, *, id_field: str | None = None) -> Areas:
    """Read areas from any vector file that `assess --buildings` takes.

    Args:
        path: The file; without a CRS its coordinates must be degrees.
        id_field: Column with unique ids; None takes one of AREA_ID_COLUMNS, else the format's own
            number of a feature (`fid`) or the row number.

    Raises:
        FootprintError: If the file cannot be read or placed, holds no polygons, or the ids are
            missing or not unique.
    """
    vectors = read_vectors(path)
    if vectors.geometry != "polygon":
        raise FootprintError(f"{path} holds points: areas need polygons")
    frame = vectors.frame.reset_index(drop=True)
    ids = feature_ids(
        frame,
        id_field,
        path,
        candidates=AREA_ID_COLUMNS,
        option="--area-id-field",
        numbers=vectors.numbers,
    )
    return Areas(ids=tuple(ids), shapes=frame.geometry, path=path, warnings=tuple(vectors.warnings))


def place_units(units: pd.DataFrame, areas: Areas) -> Indices:
    """Return the index of the area that holds the centre of each unit, NO_AREA where none does.

    A centre on the line between two areas belongs to the first of them.

    Args:
        units: One row per unit with lon and lat in degrees (NaN without a place).
        areas: The areas.

    Raises:
        EvaluationError: If no unit lies in any area, or one lies inside two, which would be
            counted twice.
    """
    points = gpd.GeoSeries(gpd.points_from_xy(units["lon"], units["lat"]), crs=4326)
    points = points.to_crs(areas.shapes.crs)
    _refuse_overlap(points, areas)
    unit, area = areas.shapes.sindex.query(points, predicate="intersects")
    if not unit.size:
        raise EvaluationError(
            f"none of the {len(units)} units lies in an area of {areas.path}: is it the same "
            f"place? units: {_extent(units)}; areas: {_extent_of(areas)}"
        )
    placed = np.full(len(units), NO_AREA, dtype=np.intp)
    order = np.argsort(area, kind="stable")[::-1]  # the first area of a unit is written last
    placed[unit[order]] = area[order]
    return placed


def _refuse_overlap(points: gpd.GeoSeries, areas: Areas) -> None:
    unit, area = areas.shapes.sindex.query(points, predicate="within")
    twice, times = np.unique(unit, return_counts=True)
    inside_two = twice[times > 1]
    if inside_two.size:
        first, second = (areas.ids[index] for index in area[unit == inside_two[0]][:2])
        raise EvaluationError(
            f"areas of {areas.path} overlap: {inside_two.size} units lie in more than one, as in "
            f"{first} and {second}; cut the areas apart, or summarise each layer by itself"
        )


def _extent(units: pd.DataFrame) -> str:
    west, east = units["lon"].min(), units["lon"].max()
    south, north = units["lat"].min(), units["lat"].max()
    if np.isnan(west):
        return "without a place, as their scene has no CRS"
    return f"lon {west:.4f} to {east:.4f}, lat {south:.4f} to {north:.4f}"


def _extent_of(areas: Areas) -> str:
    west, south, east, north = areas.shapes.to_crs(4326).total_bounds
    return f"lon {west:.4f} to {east:.4f}, lat {south:.4f} to {north:.4f}"
