"""What single rows of the jobs table are asked and told inside a transaction."""

from typing import Any, cast

from sqlalchemy import CursorResult, Update, func, select, text, update
from sqlalchemy.orm import Session

from api.folders import ID
from api.problems import Problem, ServiceError, not_found
from api.store.database import now
from api.store.tables import ACCEPTED, FAILED, RUNNING, WAITING, Job


def require_id(job_id: str) -> None:
    """Raise ServiceError 404 for what is no id: it may be nothing that a database takes."""
    if not ID.fullmatch(job_id):
        raise not_found("assessment")


def owned(session: Session, job_id: str, owner: str) -> Job:
    """Return a job of a caller; raise ServiceError 404 for any other."""
    job = session.scalar(select(Job).where(Job.id == job_id, Job.owner == owner))
    if job is None:
        raise not_found("assessment")
    return job


def held(job_id: str, worker: str) -> tuple[Any, ...]:
    """Return the conditions under which a worker has a job."""
    return Job.id == job_id, Job.status == RUNNING, Job.worker == worker


def changed(session: Session, change: Update) -> bool:
    """Change a row and return whether there was one to change."""
    # The ORM's answer to an UPDATE is a cursor's, which its signature does not say.
    return cast("CursorResult[Any]", session.execute(change)).rowcount == 1


def ended() -> dict[str, Any]:
    """Return the columns of a job that has just ended, but for what came of it."""
    return {"finished": now(), "updated": now(), "worker": None, "lease_until": None}


def require_turn(session: Session, owner: str, max_jobs: int) -> None:
    """Let a caller make a job in this transaction, if it has fewer than it may.

    Until the transaction ends nobody else makes one for the same caller: PostgreSQL has a lock for
    it, and in SQLite one transaction writes at a time.

    Raises:
        ServiceError: 429.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 0))")
        session.execute(lock, {"owner": owner})
    counted = select(func.count()).where(Job.owner == owner, Job.status.in_(WAITING))
    if (session.scalar(counted) or 0) >= max_jobs:
        raise ServiceError(
            429,
            f"{max_jobs} jobs wait or run already (max_jobs): wait until one has ended",
            {"Retry-After": "30"},
        )


def put_back(session: Session, job: Job, max_attempts: int) -> bool:
    """Put one running job back; False where it failed, or somebody else was faster."""
    expired = update(Job).where(
        Job.id == job.id, Job.status == RUNNING, Job.lease_until == job.lease_until
    )
    if job.attempts >= max_attempts:
        problem = Problem(
            title="Internal Server Error",
            status=500,
            detail=f"its worker ended {job.attempts} times without a word: the scene may need "
            "more memory than there is",
        )
        values = {"status": FAILED, "problem": problem.model_dump(exclude_none=True)} | ended()
        changed(session, expired.values(**values))
        return False
    values = {"status": ACCEPTED, "worker": None, "lease_until": None, "updated": now()}
    return changed(session, expired.values(attempts=job.attempts, **values))
