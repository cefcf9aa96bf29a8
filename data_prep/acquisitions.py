"""Which satellite pass a tile was cut from: a table beside the tiles, joined by coordinate."""

import csv
from pathlib import Path

from damagenet.errors import DataError

FILE_NAME = "harvey_acquisitions.csv"

_DECIMALS = 5
"""About a metre: as raw floats only half of the coordinates agree with the tiles' names."""


def read_acquisitions(path: Path) -> dict[tuple[float, float], str]:
    """Read the post-event catalogue id of every coordinate, keyed by `coordinate_key`.

    Args:
        path: A CSV with the columns `lon`, `lat` and `post_catalog_id`; where a coordinate
            comes twice the first one counts.

    Raises:
        DataError: If the file cannot be read, lacks a column or holds a coordinate that is no
            number.
    """
    passes: dict[tuple[float, float], str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                key = coordinate_key(float(row["lon"]), float(row["lat"]))
                passes.setdefault(key, row["post_catalog_id"])
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"cannot read the acquisitions {path}: {err}") from err
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"{path} is no table of acquisitions: it needs the columns lon, lat and "
            f"post_catalog_id with a number in the first two ({err})"
        ) from err
    return passes


def coordinate_key(lon: float, lat: float) -> tuple[float, float]:
    """Return a coordinate rounded so that tiles and table agree."""
    return round(lon, _DECIMALS), round(lat, _DECIMALS)
