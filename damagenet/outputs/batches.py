"""Batches of records: what every table format is written from, so that they cannot disagree."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

Geometries = NDArray[np.object_]

KEPT_UNITS = 20_000
"""Up to so many records are kept between formats; more are read again for each (memory)."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some consecutive records: columns as in `VectorLayer.types`, and one geometry each."""

    table: pa.Table
    geometry: Geometries
    """Shapely geometries in the layer's CRS, two-dimensional; None where there is none."""
    row: NDArray[np.int64] | None = None
    """Place of each unit in the caller's file or in the grid, where the part says so."""

    @cached_property
    def wkb(self) -> pa.Array:
        """Geometries as well-known binary."""
        return pa.array(shapely.to_wkb(self.geometry), type=pa.binary())

    @cached_property
    def rows(self) -> list[tuple[object, ...]]:
        """The table's values row by row, None where there is no value."""
        columns = [column.to_pylist() for column in self.table.columns]
        return list(zip(*columns, strict=True))

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return one numeric column as floats, NaN where there is no value."""
        values: NDArray[np.float64] = self.table[name].to_numpy().astype(np.float64)
        return values


Batches = Callable[[], Iterator[Batch]]
"""Gives the records batch by batch, as often as it is called."""


def kept(batches: Batches, *, units: int) -> Batches:
    """Return the same batches, gone through once only where they are few enough to be held."""
    if units > KEPT_UNITS:
        return batches
    held = list(batches())
    return lambda: iter(held)


def regrouped(batches: Iterable[Batch], *, rows: int, types: pa.Schema) -> Iterator[Batch]:
    """Yield the same records in batches of exactly `rows`, the last one smaller, at least one.

    What is written then depends on the records alone, not on how the work was cut into parts.
    """
    waiting = Batch(table=types.empty_table(), geometry=np.empty(0, dtype=object))
    for batch in batches:
        waiting = _joined(waiting, batch)
        while waiting.table.num_rows > rows:
            yield _sliced(waiting, 0, rows)
            waiting = _sliced(waiting, rows, waiting.table.num_rows)
    yield waiting


def flat_geometries(geometry: object, kind: Literal["point", "polygon"]) -> Geometries:
    """Drop heights and empty geometries, and make every polygon a multi-polygon."""
    flat: Geometries = shapely.force_2d(np.array(geometry, dtype=object))
    flat[shapely.is_empty(flat)] = None
    if kind == "polygon":
        single = np.flatnonzero(shapely.get_type_id(flat) == shapely.GeometryType.POLYGON)
        flat[single] = shapely.multipolygons(flat[single], indices=np.arange(len(single)))
    return flat


def _joined(first: Batch, second: Batch) -> Batch:
    if not first.table.num_rows:
        return second
    return Batch(
        table=pa.concat_tables([first.table, second.table]),
        geometry=np.concatenate([first.geometry, second.geometry]),
    )


def _sliced(batch: Batch, start: int, stop: int) -> Batch:
    table = batch.table.slice(start, stop - start).combine_chunks()
    return Batch(table=table, geometry=batch.geometry[start:stop])
