"""What nobody will ask for any more: files of requests that broke off, uploads long forgotten."""

import datetime as dt
import logging
import time

from api.folders import ID, ServiceFolders
from api.store.database import now
from api.store.jobs import JobStore
from api.store.uploads import UploadStore

logger = logging.getLogger(__name__)

BROKEN_S = 24 * 3600.0
"""Age of a job's folder without a job: by then its request has ended, well or badly."""
UPLOAD_DAYS = 7
"""How long an upload is kept, finished or not."""
AT_ONCE = 500


def clear_leftovers(folders: ServiceFolders, jobs: JobStore, uploads: UploadStore) -> int:
    """Delete job folders that nobody wants and uploads that are too old; return how many went.

    An API that is killed amid a request cannot delete what had arrived.
    """
    gone = _clear_jobs(folders, jobs)
    for upload_id in uploads.made_before(now() - dt.timedelta(days=UPLOAD_DAYS)):
        folders.upload(upload_id).unlink(missing_ok=True)
        uploads.remove(upload_id)
        gone += 1
    if gone:
        logger.info("%d leftovers were deleted", gone)
    return gone


def _clear_jobs(folders: ServiceFolders, jobs: JobStore) -> int:
    place = folders.data_dir / "jobs"
    if not place.is_dir():
        return 0
    oldest = time.time() - BROKEN_S
    old = [
        path.name
        for path in place.iterdir()
        if ID.fullmatch(path.name) and path.stat().st_mtime < oldest
    ]
    gone = 0
    for start in range(0, len(old), AT_ONCE):
        some = old[start : start + AT_ONCE]
        for job_id in set(some) - jobs.wanted(some):
            folders.job(job_id).delete()
            gone += 1
    return gone
