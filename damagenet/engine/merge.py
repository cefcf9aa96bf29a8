"""`DIR/damage.*`: every unit of a run once, whatever number of scenes saw it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from geopandas import GeoDataFrame, read_parquet

from damagenet.assessment import ROW_COLUMN, Assessment
from damagenet.bundle import model_id
from damagenet.engine.judging import Columns, degrees
from damagenet.engine.work import caller_columns, record_table
from damagenet.labels import Kind, Label, Reason
from damagenet.outputs.batches import Batch
from damagenet.outputs.layer import VectorLayer, cannot_write, reading_part
from damagenet.outputs.writing import write_vectors
from damagenet.records import RECORD_FIELDS
from data_prep.footprints import Buildings

CHUNK_ROWS = 8192
"""Buildings that are merged at a time."""

SCENES_COLUMN = "scenes"
"""Folder names of the scenes that hold the unit, joined by `; `."""
DISAGREE_COLUMN = "disagree"
"""True where one scene says damaged and another undamaged."""


def write_merged(
    out: Path,
    formats: Sequence[str],
    layer: VectorLayer,
    assessments: Sequence[Assessment],
    buildings: Buildings | None,
) -> list[Path]:
    """Write the table of a whole run in the vector formats asked for and return the files.

    Args:
        out: Folder of the run.
        formats: Formats of the run; those that CRS or kind rule out are left out.
        layer: Made of the assessments, by `VectorLayer.of_run`.
        assessments: Finished assessments of the same buildings, or of grids; at least one.
        buildings: The caller's buildings; every one is answered, those outside all scenes too.

    Raises:
        OutputError: If a file cannot be written, or a part is damaged.
    """
    possible = [name for name in formats if name not in cannot_write(layer.crs, formats)]

    def batches() -> Iterator[Batch]:
        if buildings is None:
            return merged_cells(assessments, layer)
        return map(layer.batch, merged_buildings(assessments, buildings))

    return write_vectors(out, possible, layer, batches)


def merged_cells(assessments: Sequence[Assessment], layer: VectorLayer) -> Iterator[Batch]:
    """Yield the cells of all scenes, one scene after the other.

    Cells of different scenes are different units even where they overlap, so their ids begin with
    the scene's folder.
    """
    for assessment in assessments:
        for path in assessment.part_paths():
            if assessment.crs == layer.crs:
                part = layer.read_part(path)
            else:
                with reading_part(path):
                    records = read_parquet(path)
                part = layer.batch(records)
            yield replace(part, table=_named(part.table, assessment.stem))


def _named(table: pa.Table, stem: str) -> pa.Table:
    """Return the records of a grid under the names of a run."""
    named = {
        "unit_id": pc.binary_join_element_wise(stem, table["unit_id"], "/"),
        SCENES_COLUMN: pa.array([stem] * table.num_rows, pa.string()),
        DISAGREE_COLUMN: pa.array([False] * table.num_rows, pa.bool_()),
    }
    for name, values in named.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def merged_buildings(
    assessments: Sequence[Assessment], buildings: Buildings
) -> Iterator[GeoDataFrame]:
    """Yield every building of the caller's file once, in the caller's order.

    Where several scenes hold a building, the verdict with the largest `valid_fraction` stands,
    then the latest `acquired`, then the scene named first. A building in no scene is not judged,
    with the reason `outside`.
    """
    cursors = [_Cursor(assessment) for assessment in assessments]
    model = model_id(assessments[0].card)
    for start in range(0, len(buildings.frame), CHUNK_ROWS):
        chunk = buildings.frame.iloc[start : start + CHUNK_ROWS]
        last = int(chunk.index[-1])
        seen = [cursor.up_to(last) for cursor in cursors]
        outside = chunk.drop(index=pd.concat([part[ROW_COLUMN] for part in seen]).unique())
        yield _chosen([*seen, _outside(outside, model)], chunk)


class _Cursor:
    """Walks the records of one scene by row, holding one part at a time."""

    def __init__(self, assessment: Assessment) -> None:
        self._stem = assessment.stem
        self._parts = map(self._table, assessment.part_paths())
        self._rest = next(self._parts)

    def up_to(self, row: int) -> pd.DataFrame:
        """Return the records up to and with this row that were not returned before."""
        taken = []
        while True:
            here = self._rest[ROW_COLUMN] <= row
            taken.append(self._rest[here])
            self._rest = self._rest[~here]
            if len(self._rest) or (part := next(self._parts, None)) is None:
                return pd.concat(taken)
            self._rest = part

    def _table(self, path: Path) -> pd.DataFrame:
        # Without the geometry, which is the caller's own; decoding it takes most of the time.
        with reading_part(path):
            table = pd.read_parquet(path, columns=[ROW_COLUMN, *RECORD_FIELDS])
        return table.assign(**{SCENES_COLUMN: self._stem})


def _chosen(seen: Sequence[pd.DataFrame], chunk: GeoDataFrame) -> GeoDataFrame:
    """Return one record for every row of the chunk, with the caller's attributes and geometry."""
    every = pd.concat([table for table in seen if len(table)])
    best = (
        every.sort_values(["valid_fraction", "acquired"], ascending=False, kind="stable")
        .drop_duplicates(ROW_COLUMN)
        .set_index(ROW_COLUMN)
        .loc[chunk.index]
    )
    # Two of the three verdicts can contradict each other; "uncertain" contradicts nothing.
    firm = every[every["label"].isin([Label.DAMAGED.value, Label.UNDAMAGED.value])]
    differ = firm.groupby(ROW_COLUMN)["label"].nunique() > 1
    merged = best.assign(
        **{
            SCENES_COLUMN: _scenes(every).loc[chunk.index],
            DISAGREE_COLUMN: differ.reindex(chunk.index, fill_value=False),
        }
    )
    own = chunk[[*caller_columns(chunk), "geometry"]]
    return GeoDataFrame(pd.concat([merged, own], axis=1), geometry="geometry", crs=chunk.crs)


def _scenes(every: pd.DataFrame) -> pd.Series:
    """Return, for every row, the folder names of its scenes, joined by `; `."""
    several = every[ROW_COLUMN].duplicated(keep=False)
    alone: pd.Series = every[~several].set_index(ROW_COLUMN)[SCENES_COLUMN]
    if not several.any():
        return alone
    shared: pd.Series = every[several].groupby(ROW_COLUMN)[SCENES_COLUMN].agg("; ".join)
    joined: pd.Series = pd.concat([alone, shared])
    return joined


def _outside(frame: GeoDataFrame, model: str) -> pd.DataFrame:
    centres = frame.geometry.representative_point()
    places = centres.to_crs(4326) if frame.crs is not None else centres
    units = len(frame)
    columns: Columns = {
        "unit_id": frame["unit_id"].to_numpy(),
        "kind": [Kind.BUILDING.value] * units,
        "label": [Label.NOT_JUDGED.value] * units,
        "reason": [Reason.OUTSIDE.value] * units,
        "p_damaged": np.full(units, np.nan),
        "p_min": np.full(units, np.nan),
        "chips": np.zeros(units, dtype=np.int32),
        "lon": degrees(places.x.to_numpy()),
        "lat": degrees(places.y.to_numpy()),
        "valid_fraction": np.zeros(units),
        "ground_m": np.zeros(units),
        "scene": [""] * units,
        "acquired": [""] * units,
        "model": [model] * units,
    }
    table = record_table(columns, list(frame.index), frame[["geometry"]])
    return pd.DataFrame(table.drop(columns="geometry")).assign(**{SCENES_COLUMN: ""})
