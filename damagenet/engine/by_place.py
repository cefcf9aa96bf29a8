"""Buildings are judged place by place, and their records put back into the caller's order.

In the caller's file neighbours may stand far apart, and every block of the scene would be decoded
again and again. So pieces follow the ground; their parts lie in a folder of their own, and only
the parts in the caller's order are an assessment's.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from damagenet.assessment import DISTANCE_COLUMN, PARTS_FOLDER, ROW_COLUMN, part_path
from damagenet.engine.parts import part_bytes, write_part
from damagenet.engine.work import BuildingWork, Work, record_table
from damagenet.outputs.layer import reading_part
from damagenet.records import RECORD_FIELDS
from data_prep.windows import Unit

PLACES_FOLDER = "by-place"
SPAN_UNITS = 100_000
"""Records that are held at once while the caller's order is restored (about 100 MB)."""


def making_folder(folder: Path, work: Work, placed: Work) -> Path:
    """Return the folder whose parts are made piece by piece, given the scene's own folder."""
    return folder if placed is work else folder / PARTS_FOLDER / PLACES_FOLDER


def put_in_order(folder: Path, work: Work, placed: Work) -> None:
    """Make the parts of a scene of the finished pieces, in the caller's order.

    Cells are in order already. Records are held for so many units at a time; pieces that hold none
    of them are not read.

    Args:
        folder: Of the scene.
        work: In the caller's order.
        placed: The same, as its pieces were made; see `work.by_place`.

    Raises:
        OutputError: If a part cannot be written, or a piece's is damaged.
    """
    if not isinstance(work, BuildingWork) or placed is work:
        return
    made = making_folder(folder, work, placed)
    rows = [_rows(placed.units(number)) for number in range(len(placed.sizes))]
    for numbers in _spans(work.sizes):
        wanted = [work.pieces[number] for number in numbers]
        # Rows ascend in the caller's order, so that a span is everything between two of them.
        table = _gathered(made, rows, wanted[0][0].row, wanted[-1][-1].row)
        start = 0
        for number, piece in zip(numbers, wanted, strict=True):
            part = table.slice(start, len(piece))
            start += len(piece)
            columns = {
                name: part[name].to_numpy()
                for name in (*RECORD_FIELDS, DISTANCE_COLUMN)
                if name in part.column_names
            }
            records = record_table(columns, _rows(piece).tolist(), work.places(piece))
            write_part(folder, number, part_bytes(records))


def forget_places(folder: Path) -> None:
    """Remove the pieces of a finished assessment, whose records are all in its parts."""
    shutil.rmtree(folder / PARTS_FOLDER / PLACES_FOLDER, ignore_errors=True)


def _rows(units: Sequence[Unit]) -> NDArray[np.int64]:
    return np.array([unit.row for unit in units], dtype=np.int64)


def _spans(sizes: Sequence[int]) -> Iterator[range]:
    """Yield runs of pieces with about `SPAN_UNITS` units each."""
    spans = np.cumsum([0, *sizes])[:-1] // SPAN_UNITS
    starts = [0, *(np.flatnonzero(np.diff(spans)) + 1).tolist(), len(sizes)]
    yield from (range(first, last) for first, last in pairwise(starts))


def _gathered(made: Path, rows: Sequence[NDArray[np.int64]], first: int, last: int) -> pa.Table:
    """Return the records from one row to another, in order, out of all parts that hold some."""
    tables = []
    for number, there in enumerate(rows):
        if not ((there >= first) & (there <= last)).any():
            continue
        path = part_path(made, number)
        with reading_part(path), pq.ParquetFile(path) as file:
            kept = [name for name in file.schema_arrow.names if name != "geometry"]
            table = file.read(columns=kept, use_threads=False)
        row = table[ROW_COLUMN].to_numpy()
        tables.append(table.filter(pa.array((row >= first) & (row <= last))))
    every = pa.concat_tables(tables, promote_options="default")
    return every.take(pa.array(np.argsort(every[ROW_COLUMN].to_numpy())))
