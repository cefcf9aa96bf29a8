"""Where a page of jobs begins: text that stays right while jobs come and go."""

import base64
import datetime as dt

from api.folders import ID
from api.problems import ServiceError
from api.store.database import utc
from api.store.tables import Job


def cursor_at(job: Job) -> str:
    """Return the cursor of the page that follows a job."""
    text = f"{utc(job.created).isoformat()} {job.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[dt.datetime, str]:
    """Return creation and id of the job before a page; raise ServiceError 422 for nonsense."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        moment, job_id = base64.urlsafe_b64decode(padded).decode().split(" ")
        if not ID.fullmatch(job_id):
            raise ValueError("no id")
        return dt.datetime.fromisoformat(moment), job_id
    except ValueError as err:
        raise ServiceError(
            422, f"cursor {cursor[:80]!r} is none of this service: take the link `next`"
        ) from err
