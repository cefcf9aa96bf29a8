"""The jobs of one service: who may do what with a row, and when.

A worker holds a job by a lease that it renews. Every change of a running job names the worker, so
that one whose lease went to another can change nothing any more, and a job ends exactly once.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import Update, delete, func, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from api.problems import Problem, ServiceError
from api.store.cursors import cursor_at, place_of
from api.store.database import Database, now
from api.store.job_rows import changed, ended, held, owned, put_back, require_id, require_turn
from api.store.tables import (
    ACCEPTED,
    DISMISSED,
    FAILED,
    RUNNING,
    SUCCESSFUL,
    WAITING,
    Job,
    Upload,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is asked for.

    Attributes:
        process: assess, suggest or adapt.
        owner: Id of the key that asks.
        options: Options as they were given.
        inputs: By role, a list of `{name, bytes, sha256}`.
        idempotency_key: The caller's name for the request, if any.
        request_sha256: Hash of options and inputs.
        id: 128 random bits; the name of its folder.
    """

    process: str
    owner: str
    options: Mapping[str, Any]
    inputs: Mapping[str, Any]
    idempotency_key: str | None = None
    request_sha256: str | None = None
    id: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPage:
    """Some jobs, the newest first, and where the next page begins."""

    jobs: list[Job]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class JobStore:
    """All changes of the jobs table."""

    database: Database

    def create(self, new: NewJob, *, max_jobs: int | None = None) -> Job:
        """Keep a new job as accepted.

        Args:
            new: The job.
            max_jobs: How many jobs of its owner may wait or run; None for any number.

        Raises:
            ServiceError: 409 if a job with its idempotency key exists: ask `by_request` before;
                429 if its owner has as many as it may.
        """
        moment = now()
        job = Job(
            id=new.id,
            process=new.process,
            owner=new.owner,
            status=ACCEPTED,
            options=dict(new.options),
            inputs=dict(new.inputs),
            idempotency_key=new.idempotency_key,
            request_sha256=new.request_sha256,
            created=moment,
            updated=moment,
            attempts=0,
        )
        try:
            with self.database.transaction() as session:
                if max_jobs is not None:
                    require_turn(session, new.owner, max_jobs)
                session.add(job)
        except IntegrityError as err:
            # Two requests with one key at the same time: the first one made the job.
            raise ServiceError(
                409, "a request with this Idempotency-Key is under way: send it again"
            ) from err
        return job

    def by_request(self, owner: str, key: str | None, sha256: str) -> Job | None:
        """Return the job that an earlier request with this idempotency key made, if any.

        Raises:
            ServiceError: If that request had other content.
        """
        if key is None:
            return None
        known = select(Job).where(Job.owner == owner, Job.idempotency_key == key)
        with self.database.transaction() as session:
            job = session.scalar(known)
        if job is not None and job.request_sha256 != sha256:
            raise ServiceError(
                422,
                f"Idempotency-Key {key!r} was used for other files or options: "
                "take another key for another request",
            )
        return job

    def get(self, job_id: str, owner: str) -> Job:
        """Return a job of this caller; raise ServiceError 404 for any other."""
        require_id(job_id)
        with self.database.transaction() as session:
            return owned(session, job_id, owner)

    def page(
        self, owner: str, *, limit: int, cursor: str | None = None, status: str | None = None
    ) -> JobsPage:
        """Return jobs of a caller, the newest first.

        Args:
            owner: Whose jobs.
            limit: Jobs a page.
            cursor: `cursor` of the page before.
            status: Only jobs with this status.

        Raises:
            ServiceError: If the cursor is none of ours.
        """
        chosen = select(Job).where(Job.owner == owner)
        if status is not None:
            chosen = chosen.where(Job.status == status)
        if cursor is not None:
            chosen = chosen.where(tuple_(Job.created, Job.id) < tuple_(*place_of(cursor)))
        chosen = chosen.order_by(Job.created.desc(), Job.id.desc()).limit(limit + 1)
        with self.database.transaction() as session:
            jobs = list(session.scalars(chosen))
        more = len(jobs) > limit
        return JobsPage(jobs=jobs[:limit], cursor=cursor_at(jobs[limit - 1]) if more else None)

    def waiting(self, owner: str) -> list[Job]:
        """Return the jobs of a caller that wait or run, in no order."""
        chosen = select(Job).where(Job.owner == owner, Job.status.in_(WAITING))
        with self.database.transaction() as session:
            return list(session.scalars(chosen))

    def require_turn(self, owner: str, *, max_jobs: int) -> None:
        """Raise ServiceError 429 where a caller has as many jobs that wait or run as it may."""
        with self.database.transaction() as session:
            require_turn(session, owner, max_jobs)

    def is_kept(self, job_id: str) -> bool:
        """Return whether there is a job of an id, whatever became of it."""
        with self.database.transaction() as session:
            return session.scalar(select(Job.id).where(Job.id == job_id)) is not None

    def dismiss(self, job_id: str, owner: str) -> Job:
        """Stop a job that waits or runs; one that has ended stays as it is.

        Raises:
            ServiceError: 404 if it is not there, or another caller's.
        """
        require_id(job_id)
        with self.database.transaction() as session:
            owned(session, job_id, owner)
            stopped = update(Job).where(Job.id == job_id, Job.status.in_(WAITING))
            session.execute(stopped.values(status=DISMISSED, **ended()))
        return self.get(job_id, owner)

    def remove(self, job_id: str, owner: str) -> None:
        """Forget a job that has ended; raise ServiceError 404 if it is not there."""
        require_id(job_id)
        with self.database.transaction() as session:
            job = owned(session, job_id, owner)
            # Now, and not when the session thinks fit: the job must not go first.
            session.execute(delete(Upload).where(Upload.job == job_id))
            session.delete(job)

    def claim(self, job_id: str, worker: str, *, lease_s: float) -> Job | None:
        """Take an accepted job for a worker; None where another was faster or it is dismissed."""
        taken = update(Job).where(Job.id == job_id, Job.status == ACCEPTED)
        moment = now()
        values = {
            "status": RUNNING,
            "worker": worker,
            "attempts": Job.attempts + 1,
            "started": func.coalesce(Job.started, moment),
            "updated": moment,
            "lease_until": moment + dt.timedelta(seconds=lease_s),
        }
        with self.database.transaction() as session:
            if not changed(session, taken.values(**values)):
                return None
            return session.get(Job, job_id)

    def holds(self, job_id: str, worker: str) -> bool:
        """Return whether a worker still has a job: not dismissed, nor gone to another."""
        mine = select(Job.id).where(*held(job_id, worker))
        with self.database.transaction() as session:
            return session.scalar(mine) is not None

    def is_wanted(self, job_id: str) -> bool:
        """Return whether anybody still wants a job: it is there and was not dismissed."""
        return job_id in self.wanted([job_id])

    def renew(
        self, job_id: str, worker: str, *, lease_s: float, progress: Mapping[str, Any] | None
    ) -> bool:
        """Renew a worker's lease and keep what it told; False where it lost the job."""
        moment = now()
        values = {"updated": moment, "lease_until": moment + dt.timedelta(seconds=lease_s)}
        if progress is not None:
            values["progress"] = dict(progress)  # type: ignore[assignment]  # a JSON column
        return self._end(update(Job).where(*held(job_id, worker)).values(**values))

    def succeed(self, job_id: str, worker: str, result: Mapping[str, Any]) -> bool:
        """End a job well; False where the worker lost it, and nothing was changed."""
        done = update(Job).where(*held(job_id, worker))
        return self._end(done.values(status=SUCCESSFUL, result=dict(result), **ended()))

    def fail(self, job_id: str, worker: str, problem: Problem) -> bool:
        """End a job badly; False where the worker lost it, and nothing was changed."""
        failed = update(Job).where(*held(job_id, worker))
        return self._end(
            failed.values(status=FAILED, problem=problem.model_dump(exclude_none=True), **ended())
        )

    def give_back(self, job_id: str, worker: str, *, counted: bool, max_attempts: int) -> bool:
        """Put a worker's job back for others; one begun too often fails instead.

        Args:
            job_id: The job.
            worker: Who holds it.
            counted: Whether this attempt counts: not where the worker is told to stop.
            max_attempts: How often a job may be begun.
        """
        with self.database.transaction() as session:
            job = session.scalar(select(Job).where(*held(job_id, worker)))
            if job is None:
                return False
            job.attempts -= not counted
            return put_back(session, job, max_attempts)

    def put_back_expired(self, *, max_attempts: int) -> list[str]:
        """Put back the jobs whose workers give no sign of life; return those to be done again."""
        expired = select(Job).where(Job.status == RUNNING, Job.lease_until < now())
        with self.database.transaction() as session:
            jobs = list(session.scalars(expired))
            return [job.id for job in jobs if put_back(session, job, max_attempts)]

    def accepted(self, *, limit: int) -> list[str]:
        """Return the jobs that wait for a worker, the oldest first."""
        waiting = select(Job.id).where(Job.status == ACCEPTED).order_by(Job.created).limit(limit)
        with self.database.transaction() as session:
            return list(session.scalars(waiting))

    def wanted(self, job_ids: Collection[str]) -> set[str]:
        """Return those of some ids whose jobs are there and were not dismissed."""
        known = select(Job.id).where(Job.id.in_(job_ids), Job.status != DISMISSED)
        with self.database.transaction() as session:
            return set(session.scalars(known))

    def _end(self, change: Update) -> bool:
        with self.database.transaction() as session:
            return changed(session, change)
