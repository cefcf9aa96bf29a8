"""Columns of the written tables: types that every format can hold."""

import json
from collections.abc import Callable, Sequence

import pyarrow as pa

RECORD_TYPES: dict[str, pa.DataType] = {
    "unit_id": pa.string(),
    "kind": pa.string(),
    "label": pa.string(),
    "reason": pa.string(),
    "p_damaged": pa.float64(),
    "p_min": pa.float64(),
    "chips": pa.int32(),
    "lon": pa.float64(),
    "lat": pa.float64(),
    "valid_fraction": pa.float64(),
    "ground_m": pa.float64(),
    "scene": pa.string(),
    "acquired": pa.string(),
    "model": pa.string(),
}
"""The fields of a record, in order."""

RUN_TYPES: dict[str, pa.DataType] = {"scenes": pa.string(), "disagree": pa.bool_()}
"""What the table of a run says besides: the scenes that saw a unit, and if they disagree."""

_KEPT: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_boolean,
    pa.types.is_signed_integer,
    pa.types.is_uint8,
    pa.types.is_uint16,
    pa.types.is_uint32,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_date32,
    pa.types.is_timestamp,
)


def attribute_types(schemas: Sequence[pa.Schema], names: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the type each of the caller's columns is written with, by name.

    A part whose values are all missing says nothing about the type; parts that contradict each
    other make a text column; what no format holds (lists, bytes, times of day) becomes text.
    """
    return {name: _written(_united(schemas, name)) for name in names}


def conform(table: pa.Table, types: pa.Schema) -> pa.Table:
    """Return the table with exactly these columns and types; a missing column is all null."""
    present = set(table.column_names)
    columns = [
        _cast(table[field.name], field.type)
        if field.name in present
        else pa.nulls(table.num_rows, field.type)
        for field in types
    ]
    return pa.table(columns, schema=types)


def _united(schemas: Sequence[pa.Schema], name: str) -> pa.DataType:
    found = [pa.schema([schema.field(name)]) for schema in schemas if name in schema.names]
    bare = [schema.remove_metadata() for schema in found]
    if not bare:
        return pa.string()
    try:
        return pa.unify_schemas(bare, promote_options="permissive").field(name).type
    except pa.ArrowException:
        return pa.string()


def _written(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _written(kind.value_type)
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return pa.float64()
    if any(holds(kind) for holds in _KEPT):
        return kind
    return pa.string()


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(kind) and _is_opaque(column.type):
        return pa.chunked_array([[_text(value) for value in column.to_pylist()]], type=kind)
    return column.cast(kind)


def _is_opaque(kind: pa.DataType) -> bool:
    tests = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary)
    return any(holds(kind) for holds in tests)


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value.hex() if isinstance(value, bytes) else json.dumps(value, default=str)
