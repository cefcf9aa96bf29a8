"""The queue: carries ids of jobs from the API to workers, over SQLite, Redis or PostgreSQL.

It is a messenger, not the truth: a message that is lost, doubled or late changes no job, because a
worker asks the jobs table before it begins, and looks there for jobs that no message speaks of.
"""

import json
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

from huey import Huey, PostgresHuey, RedisHuey, SqliteHuey
from huey.exceptions import ConfigurationError, HueyException
from huey.registry import Message
from huey.serializer import Serializer

from api.problems import ServiceError
from damagenet.errors import ConfigError

logger = logging.getLogger(__name__)

NAME = "damagenet"
POLL_S = 0.2
"""How often a queue in SQLite is looked into; the others wake who waits."""


class JsonSerializer(Serializer):  # type: ignore[misc]  # huey has no types
    """Messages as JSON: nobody who can write into the queue can make a worker run code."""

    def _serialize(self, data: Message) -> bytes:
        return json.dumps(data).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(data))


class JobQueue:
    """Messages that a job waits.

    Args:
        address: `sqlite:///FILE`, `redis://...` or `postgresql://...`.

    Raises:
        ConfigError: If the address cannot be understood or nobody answers there.
    """

    def __init__(self, address: str) -> None:
        self._errors = _connection_errors()
        try:
            self._huey = _huey(address)
            self._huey.storage.queue_size()
        except self._errors as err:
            raise ConfigError(
                "the queue of DAMAGENET_QUEUE_URL does not answer: "
                "start it, or mend address, user and password"
            ) from err
        self._message = self._huey.task(name="job")(_take_note)

    def put(self, job_id: str) -> None:
        """Tell the workers of a job; raise ServiceError if the queue does not answer."""
        try:
            self._huey.enqueue(self._message.s(job_id))
        except self._errors as err:
            raise ServiceError(503, "the queue of jobs does not answer: try again later") from err

    def take(self, wait_s: float) -> str | None:
        """Return the id of a job, or None where no message came in time.

        Args:
            wait_s: How long to wait, in seconds; up to a second more where a server is asked.

        Raises:
            ServiceError: If the queue does not answer.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                message = self._huey.dequeue()
            except self._errors as err:
                raise ServiceError(503, "the queue of jobs does not answer") from err
            except (HueyException, TypeError, ValueError) as err:
                # Somebody else wrote into the queue; the message is gone, which harms no job.
                logger.warning("a message is none of this service (%s)", type(err).__name__)
                continue
            if message is not None:
                return str(message.args[0])
            if time.monotonic() >= until:
                return None
            if isinstance(self._huey, SqliteHuey):
                time.sleep(POLL_S)

    def empty(self) -> bool:
        """Return whether no message waits; raise ServiceError if the queue does not answer."""
        try:
            return bool(self._huey.storage.queue_size() == 0)
        except self._errors as err:
            raise ServiceError(503, "the queue of jobs does not answer") from err

    def close(self) -> None:
        """Give the connections back."""
        self._huey.storage.close()


def _take_note(job_id: str) -> str:
    """Huey's task: a worker takes the id out of the message and runs the job itself."""
    return job_id


def _huey(address: str) -> Huey:
    kind, _, rest = address.partition("://")
    settings: dict[str, Any] = {"name": NAME, "results": False, "serializer": JsonSerializer()}
    if kind == "sqlite":
        path = Path(rest.removeprefix("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteHuey(filename=str(path), timeout=30, **settings)
    if kind in ("redis", "rediss"):
        return RedisHuey(url=address, **settings)
    if kind in ("postgresql", "postgresql+psycopg"):
        return PostgresHuey(dsn=f"postgresql://{rest}", **settings)
    raise ConfigError(
        f"DAMAGENET_QUEUE_URL begins with {kind!r}: "
        "write redis://HOST or postgresql://USER@HOST/NAME"
    )


def _connection_errors() -> tuple[type[Exception], ...]:
    """Return what the clients that are installed raise where a queue does not answer."""
    # Huey's own error: the client of a queue is not installed.
    found: list[type[Exception]] = [sqlite3.OperationalError, ConfigurationError]
    try:
        from redis.exceptions import RedisError

        found.append(RedisError)
    except ImportError:
        logger.debug("no Redis client is installed")
    try:
        from psycopg import OperationalError

        found.append(OperationalError)
    except ImportError:
        logger.debug("no PostgreSQL client is installed")
    return tuple(found)
