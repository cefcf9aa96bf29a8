"""Ids of the features in a vector file: the caller's own column, else the row number."""

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import pandas as pd

from damagenet.errors import FootprintError


def feature_ids(
    frame: gpd.GeoDataFrame,
    field: str | None,
    path: Path,
    *,
    candidates: Sequence[str],
    option: str,
    numbers: pd.Series | None = None,
) -> list[str]:
    """Return one id per feature, as text, in order.

    Args:
        frame: The features.
        field: Column with unique ids; None takes the first candidate that is there.
        path: Their file, for what is said when it cannot be used.
        candidates: Columns that are taken for ids unasked, upper or lower case; where there is
            none, the format's own numbers are the ids, and without those the row numbers.
        option: The option that names another column, as in `--id-field`.
        numbers: The numbers that the format itself gives its features, named as it names them.

    Raises:
        FootprintError: If the column is missing, or ids are missing or not unique.
    """
    if numbers is not None and field == numbers.name and field not in frame:
        return [str(number) for number in numbers]
    column = _id_column(frame, field, path, candidates, option)
    if column is None:
        return [str(number) for number in (range(len(frame)) if numbers is None else numbers)]
    values = frame[column]
    if values.isna().any():
        rows = ", ".join(str(row) for row in frame.index[values.isna()][:5])
        raise FootprintError(
            f"{path}: ids are missing in column {column!r} (row {rows}): fill them in, or name "
            f"another column with {option}"
        )
    ids = [_as_text(value) for value in values]
    twice = pd.Series(ids)[pd.Series(ids).duplicated()].unique()
    if len(twice):
        shown = ", ".join(twice[:5])
        raise FootprintError(
            f"{path}: {len(twice)} ids in column {column!r} are not unique ({shown}): keep one row "
            f"for each, or name another column with {option}"
        )
    return ids


def _id_column(
    frame: gpd.GeoDataFrame, field: str | None, path: Path, candidates: Sequence[str], option: str
) -> str | None:
    names = [str(name) for name in frame.columns if name != frame.geometry.name]
    if field is not None:
        if field not in names:
            raise FootprintError(
                f"{path} has no column {field!r} for {option}: choose one of "
                f"{', '.join(names) or '(it has none)'}"
            )
        return field
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in candidates if name in by_lower), None)


def _as_text(value: object) -> str:
    """Write a whole number without `.0`, which a column with gaps or a CSV may have given it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
