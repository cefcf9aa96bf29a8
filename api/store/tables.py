"""The tables: jobs, API keys, sessions, uploads. The jobs table is the truth about every job."""

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ACCEPTED, RUNNING = "accepted", "running"
SUCCESSFUL, FAILED, DISMISSED = "successful", "failed", "dismissed"
WAITING = (ACCEPTED, RUNNING)
"""Statuses that change by themselves; words of OGC API Processes."""


class Table(DeclarativeBase):
    """What all tables share."""

    type_annotation_map = {dt.datetime: DateTime(timezone=True), dict[str, Any]: JSON}  # noqa: RUF012


class Job(Table):
    """One assessment or adaptation, from the request to its results."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_owner", "owner", "created"),
        Index("jobs_by_lease", "status", "lease_until"),
        Index("jobs_by_request", "owner", "idempotency_key", unique=True),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """128 random bits in hexadecimal."""
    process: Mapped[str] = mapped_column(String(16))
    """assess, suggest or adapt."""
    owner: Mapped[str] = mapped_column(String(32))
    """Id of the API key that asked for it; `local` where there are no keys."""
    status: Mapped[str] = mapped_column(String(16), default=ACCEPTED)
    options: Mapped[dict[str, Any]]
    """Options as the caller gave them, names as in `AssessOptions` or `AdaptOptions`."""
    inputs: Mapped[dict[str, Any]]
    """By role, a list of `{name, bytes, sha256}`."""
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_sha256: Mapped[str | None] = mapped_column(String(64))
    """Hash of options and inputs: the same idempotency key with other content is refused."""
    created: Mapped[dt.datetime]
    started: Mapped[dt.datetime | None]
    finished: Mapped[dt.datetime | None]
    updated: Mapped[dt.datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(64))
    """Who holds the lease."""
    lease_until: Mapped[dt.datetime | None]
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """`{stage, scene, number, scenes, units_done, units_total, seconds_left}` of the last sign."""
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """Counts, sentences and files, where it was successful."""
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """An RFC 9457 problem, where it failed."""


class Key(Table):
    """An API key; the key itself is shown once and never kept."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    """Hash of 256 random bits: too many to be guessed, so no slow hash is needed."""
    scopes: Mapped[str] = mapped_column(String(64))
    """read, write, admin; separated by blanks."""
    created: Mapped[dt.datetime]
    revoked: Mapped[dt.datetime | None]


class BrowserSession(Table):
    """A browser that showed a key and was given a cookie; the cookie itself is never kept."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(ForeignKey("keys.id"))
    created: Mapped[dt.datetime]
    expires: Mapped[dt.datetime]


class Upload(Table):
    """A file that is sent in parts."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(Text)
    bytes_total: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    """Set when the upload is finished and whole."""
    job: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    """The job that took the file over."""
    created: Mapped[dt.datetime]
