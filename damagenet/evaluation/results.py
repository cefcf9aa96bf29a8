"""Results of an assessment, read back from any of the files that hold its verdicts."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyogrio

from damagenet.errors import EvaluationError
from data_prep.vector_files import leave_no_sidecars

RESULT_FORMATS = ("parquet", "gpkg", "geojson", "csv")
"""Formats that hold the records, the quickest to read first."""
PYOGRIO_ERRORS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError)
NEEDED = ("unit_id", "label", "reason", "p_damaged", "lon", "lat", "scene")
OPTIONAL = ("kind", "model")
"""Columns that come along where they are there, else blank."""


def results_file(results: Path) -> Path:
    """Return the file with the verdicts: `results` itself, or `damage.*` in that folder.

    Raises:
        EvaluationError: If there is none.
    """
    if results.is_file():
        return results
    if not results.is_dir():
        raise EvaluationError(f"{results} does not exist: name the --out folder of an assessment")
    for suffix in RESULT_FORMATS:
        path = results / f"damage.{suffix}"
        if path.is_file():
            return path
    names = ", ".join(f"damage.{suffix}" for suffix in RESULT_FORMATS)
    raise EvaluationError(
        f"{results} holds none of {names}: name the --out folder of an assessment, or assess "
        "again with --format parquet"
    )


def read_results(results: Path) -> pd.DataFrame:
    """Read the verdicts of an assessment.

    Args:
        results: Folder of a run or of one scene in it, or one of its `damage.*` files.

    Returns:
        One row per unit with the columns NEEDED and OPTIONAL; `unit_id` is text, `p_damaged`,
        `lon` and `lat` are NaN where there is none.

    Raises:
        EvaluationError: If there is no such file, it cannot be read, or it lacks a column.
    """
    path = results_file(results)
    frame = _read(path)
    absent = [name for name in NEEDED if name not in frame.columns]
    if absent:
        raise EvaluationError(f"{path} is no damagenet result: it lacks {', '.join(absent)}")
    if frame.empty:
        raise EvaluationError(f"{path} holds no unit: there is nothing to score")
    units = pd.DataFrame(frame.reindex(columns=[*NEEDED, *OPTIONAL])).reset_index(drop=True)
    for name in ("p_damaged", "lon", "lat"):
        units[name] = pd.to_numeric(units[name])
    for name in ("unit_id", "label", "reason", "scene", *OPTIONAL):
        units[name] = units[name].astype(object).where(units[name].notna(), "").astype(str)
    return units


def _read(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    leave_no_sidecars()
    try:
        if suffix == ".parquet":
            frame: pd.DataFrame = gpd.read_parquet(path)
        elif suffix == ".csv":
            # Ids such as 007 and NA are text.
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif suffix == ".gpkg":
            # Its other layer holds the style.
            frame = gpd.read_file(path, layer="damage")
        else:
            frame = gpd.read_file(path)
    except (OSError, ValueError, pa.ArrowException, *PYOGRIO_ERRORS) as err:
        raise EvaluationError(f"{path} cannot be read as results: {err}") from err
    return frame
