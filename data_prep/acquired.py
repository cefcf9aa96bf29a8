"""When a scene was taken, as its file says."""

import datetime as dt
import re
from contextlib import suppress

from rasterio.io import DatasetReader

_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "ACQUISITIONDATE",
    "CAPTURE_DATE",
    "TIFFTAG_DATETIME",
    "EXIF_DateTimeOriginal",
    "EXIF_DateTime",
)
"""Tags that tell it, the surest first: TIFF DateTime may be the day the file was written."""


def acquisition_time(dataset: DatasetReader) -> str:
    """Return the time of acquisition as ISO 8601, or an empty text where the file does not say."""
    tags = {**dataset.tags(), **dataset.tags(ns="IMAGERY")}
    for name in _TAGS:
        found = _iso(tags.get(name, ""))
        if found:
            return found
    return ""


def _iso(text: str) -> str:
    """Return ISO 8601 of `2017:08:31 17:38:50` or of a text that is ISO 8601 already, else "".

    A moment with a time zone is given in UTC, so that texts sort as times do.
    """
    written = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip())
    with suppress(ValueError):
        return dt.date.fromisoformat(written).isoformat()
    try:
        moment = dt.datetime.fromisoformat(written)
        return (moment if moment.tzinfo is None else moment.astimezone(dt.UTC)).isoformat()
    except (ValueError, OverflowError):
        return ""
