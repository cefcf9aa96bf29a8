"""What is asked of the items of a collection: an area, labels, a probability, a time, a page."""

import datetime as dt
from dataclasses import dataclass

from api.problems import ServiceError
from damagenet.labels import Label

MOST = 10_000
"""Features in one answer at most; more are asked for page by page."""
LABELS = tuple(label.value for label in Label)

Bbox = tuple[float, float, float, float]
Interval = tuple[dt.datetime | None, dt.datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureQuery:
    """Which features are wanted.

    Attributes:
        bbox: West, south, east, north in degrees; west may be larger, across 180 degrees.
        labels: Verdicts; None for all.
        min_p: Smallest P(damaged); features without one are left out where it is given.
        taken: When the picture was taken: from, to, either of them open.
    """

    bbox: Bbox | None = None
    labels: frozenset[str] | None = None
    min_p: float | None = None
    taken: Interval | None = None


def read_bbox(text: str | None) -> Bbox | None:
    """Return a box of `west,south,east,north`, or of six numbers with heights, which are ignored.

    Raises:
        ServiceError: 400 if it is no such box.
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise _bad_bbox(text) from None
    if len(numbers) == 6:
        del numbers[5], numbers[2]
    if len(numbers) != 4:
        raise _bad_bbox(text)
    west, south, east, north = numbers
    # NaN fails every comparison.
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise _bad_bbox(text)
    return west, south, east, north


def read_labels(text: str | None) -> frozenset[str] | None:
    """Return the labels of a list with commas; raise ServiceError 400 for an unknown one."""
    if text is None:
        return None
    labels = frozenset(part.strip() for part in text.split(","))
    unknown = sorted(labels.difference(LABELS))
    if unknown:
        raise ServiceError(
            400, f"label {unknown[0][:40]!r} is unknown: choose from {', '.join(LABELS)}"
        )
    return labels


def read_interval(text: str | None) -> Interval | None:
    """Return the time span of RFC 3339 moments, `from/to`, `../to` or `from/..`.

    Raises:
        ServiceError: 400 if it is no such span.
    """
    if text is None:
        return None
    parts = text.split("/")
    if len(parts) == 1:
        parts *= 2
    if len(parts) != 2 or all(part in ("", "..") for part in parts):
        raise _bad_time(text)
    try:
        first, last = (None if part in ("", "..") else span_of(part) for part in parts)
    except ValueError:
        raise _bad_time(text) from None
    start, end = first and first[0], last and last[1]
    if start is not None and end is not None and start > end:
        raise _bad_time(text)
    return start, end


def span_of(text: str) -> tuple[dt.datetime, dt.datetime]:
    """Return first and last moment of an ISO 8601 date or time, UTC where no zone is given.

    Raises:
        ValueError: If it is neither.
    """
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    is_date = "T" not in text.upper() and ":" not in text
    return moment, moment + dt.timedelta(days=1, microseconds=-1) if is_date else moment


def overlaps(acquired: str, taken: Interval) -> bool:
    """Return whether a picture was taken then; one without a date may have been at any time."""
    if not acquired:
        return True
    try:
        first, last = span_of(acquired)
    except ValueError:
        return True
    start, end = taken
    return (end is None or first <= end) and (start is None or last >= start)


def _bad_bbox(text: str) -> ServiceError:
    return ServiceError(
        400, f"bbox {text[:80]!r} is no box: write west,south,east,north in degrees"
    )


def _bad_time(text: str) -> ServiceError:
    return ServiceError(
        400,
        f"datetime {text[:80]!r} is no time: write 2017-08-31, a moment as in "
        "2017-08-31T17:00:00Z, or two of them with a / between (.. for an open end)",
    )
