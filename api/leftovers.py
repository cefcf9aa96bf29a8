"""What nobody will ask for any more: files of requests that broke off, uploads long forgotten."""

import datetime as dt
import logging
import re
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

from api.folders import ID, ServiceFolders
from api.store.database import now
from api.store.jobs import JobStore
from api.store.uploads import UploadStore

logger = logging.getLogger(__name__)

BROKEN_S = 24 * 3600.0
"""Age of files without a row of a table: by then their request has ended, well or badly."""
UPLOAD_DAYS = 7
"""How long an upload is kept, finished or not."""
AT_ONCE = 500


AREAS = re.compile(rf"{ID.pattern}\.areas")
"""Folder of a file of areas, which is deleted when its request is answered."""


def clear_leftovers(folders: ServiceFolders, jobs: JobStore, uploads: UploadStore) -> int:
    """Delete job folders and files that nobody wants and too old uploads; return how many went.

    An API that is killed amid a request cannot delete what had arrived.
    """
    gone = 0
    for upload_id in uploads.made_before(now() - dt.timedelta(days=UPLOAD_DAYS)):
        uploads.remove(upload_id)
        folders.upload(upload_id).unlink(missing_ok=True)
        gone += 1
    gone += _clear(_old(folders.data_dir / "jobs", ID), jobs.wanted)
    gone += _clear(_old(folders.uploads, ID), uploads.known)
    gone += _clear(_old(folders.uploads, AREAS), lambda _names: set())
    if gone:
        logger.info("%d leftovers were deleted", gone)
    return gone


def _old(place: Path, form: re.Pattern[str]) -> list[Path]:
    """Return what has been lying in a folder for long, of the names that have a form."""
    if not place.is_dir():
        return []
    oldest = time.time() - BROKEN_S
    return [
        path
        for path in place.iterdir()
        if form.fullmatch(path.name) and _changed(path, oldest) < oldest
    ]


def _changed(path: Path, otherwise: float) -> float:
    """Return when a file was changed; another time where somebody has just deleted it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return otherwise


def _clear(paths: list[Path], wanted: Callable[[Collection[str]], set[str]]) -> int:
    """Delete files and folders, but for those whose names are wanted; return how many went."""
    gone = 0
    for start in range(0, len(paths), AT_ONCE):
        some = {path.name: path for path in paths[start : start + AT_ONCE]}
        for name in set(some) - wanted(list(some)):
            _delete(some[name])
            gone += 1
    return gone


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
