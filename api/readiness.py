"""Whether a service can do its work: what it asks of the things it stands on."""

import os
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.problems import ServiceError
from api.queue import JobQueue
from api.service import Service
from api.store.database import Database


def faults(service: Service) -> list[str]:
    """Return what fails, each in a few words; empty where the service can work."""
    told = (
        "" if _database_answers(service.database) else "the database does not answer",
        "" if _is_writable(service.folders.data_dir) else "the data folder cannot be written to",
        "" if _queue_answers(service.queue) else "the queue does not answer",
    )
    return [fault for fault in told if fault]


def _database_answers(database: Database) -> bool:
    try:
        with database.engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM jobs WHERE 1 = 0"))
    except SQLAlchemyError:
        return False
    return True


def _is_writable(folder: Path) -> bool:
    probe = folder / f".ready-{os.getpid()}-{uuid4().hex}"
    try:
        probe.write_bytes(b"ready")
        probe.unlink()
    except OSError:
        return False
    return True


def _queue_answers(queue: JobQueue) -> bool:
    try:
        queue.empty()
    except ServiceError:
        return False
    return True
