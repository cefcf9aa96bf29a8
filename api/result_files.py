"""Files of results that callers may have, by the names that addresses end with."""

from pathlib import Path
from uuid import uuid4

from fastapi import Request
from fastapi.responses import Response

from api.byte_ranges import ByteRanges, RangedFile, read_ranges
from api.folders import JobFolder
from api.problems import ServiceError, not_found

MEDIA_TYPES: dict[str, str] = {
    "damage.geojson": "application/geo+json",
    "damage.gpkg": "application/geopackage+sqlite3",
    "damage.parquet": "application/vnd.apache.parquet",
    "damage.csv": "text/csv",
    "damage.tif": "image/tiff",
    "damage.qml": "application/xml",
    "report.html": "text/html",
    "summary.json": "application/json",
    "run.json": "application/json",
}
"""Files of a run or of one of its scenes; nothing else in a job's folder is given out."""

WITH_PATHS = {"report.html", "run.json", "summary.json"}
"""Files that name the places of what was sent; callers get them with names alone."""


def present(folder: Path) -> list[str]:
    """Return the names of the files that a folder of results has, in the order of the table."""
    return [name for name in MEDIA_TYPES if (folder / name).is_file()]


def file_response(request: Request, folder: JobFolder, path: Path) -> Response:
    """Return a file, a range of it, or that it is as the caller knows it.

    Args:
        request: With `Range`, `If-Range`, `If-None-Match`.
        folder: Of the job.
        path: The file, of a name in the table.

    Raises:
        ServiceError: 404 if it was deleted, 416 if the range lies outside.
    """
    try:
        stat = path.stat()
        if path.name in WITH_PATHS:
            path = _public_copy(folder, path)
            stat = path.stat()
    except FileNotFoundError:
        raise not_found(f"file {path.name!r}") from None
    tag = f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_known(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    response = RangedFile(
        path,
        headers=headers,
        media_type=MEDIA_TYPES[path.name],
        filename=path.name,
        stat_result=stat,
        content_disposition_type="inline" if path.suffix == ".html" else "attachment",
    )
    current = (tag, response.headers["last-modified"])
    response.ranges = _wanted_ranges(request, stat.st_size, current)
    return response


def is_known(tags: str | None, tag: str) -> bool:
    """Return whether a caller has one of the tags of `If-None-Match`, compared weakly (RFC 9110).

    Args:
        tags: The header, if it was sent.
        tag: Of the answer as it is now.
    """
    if tags is None:
        return False
    return tags.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in tags.split(",")]


def _wanted_ranges(request: Request, size: int, current: tuple[str, str]) -> ByteRanges | None:
    """Return the ranges to send; None for the whole file.

    Args:
        request: With `Range` and `If-Range`, which hold for GET alone.
        size: Bytes of the file.
        current: Tag and date, one of which `If-Range` must name.
    """
    wanted = request.headers.get("range")
    if wanted is None or request.method != "GET":
        return None
    if request.headers.get("if-range", current[0]) not in current:
        return None
    ranges = read_ranges(wanted, size)
    if ranges is not None and not ranges.kept:
        raise ServiceError(
            416,
            f"range {wanted[:80]!r} has nothing of the file's {size} bytes: write bytes=FIRST-LAST",
            {"Content-Range": f"bytes */{size}"},
        )
    return ranges


def _public_copy(folder: JobFolder, path: Path) -> Path:
    """Return a copy of a file of results in which the server's paths are names."""
    copy = folder.root / "public" / path.relative_to(folder.results)
    if not copy.exists():
        # One by one from the job's folder on: one that was deleted must not come back.
        for place in (folder.root / "public", copy.parent):
            place.mkdir(exist_ok=True)
        partial = copy.with_name(f"{copy.name}.{uuid4().hex}")
        partial.write_text(folder.public(path.read_text(encoding="utf-8")), encoding="utf-8")
        partial.replace(copy)
    return copy
