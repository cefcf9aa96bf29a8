"""What a file of buildings or areas may hold: counted by a child process with limits."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.inspecting import require_open
from api.problems import ServiceError
from api.settings import ServiceSettings

logger = logging.getLogger(__name__)

TIMEOUT_S = 300
"""How long counting may take."""
SAID = 2000
"""Characters of what a child says that are logged."""
LOOK_S = 0.2
"""How often somebody who waits asks whether the service ends."""
AT_A_TIME = threading.BoundedSemaphore(2)
"""Children that may run beside each other: each may take gigabytes."""


def inspect_vectors(
    path: Path, kind: str, settings: ServiceSettings, closing: threading.Event
) -> None:
    """Refuse a vector file that holds too much, or coordinates that are no numbers.

    Args:
        path: The file.
        kind: What its first bytes say that it is; see `api.vector_counting`.
        settings: Limits of the service.
        closing: Set when the service ends, and the child with it.

    Raises:
        ServiceError: 413 beyond a limit, 422 where it cannot be read, 503 where the service ends.
    """
    size = path.stat().st_size
    if size > settings.max_vector_bytes:
        raise ServiceError(
            413,
            f"{path.name} has {size:,} bytes, more than {settings.max_vector_bytes:,} "
            "(max_vector_bytes): leave out columns or buildings",
        )
    status, detail = _ask_child(path, kind, settings, closing)
    if status != 200:
        raise ServiceError(status, detail)


def _ask_child(
    path: Path, kind: str, settings: ServiceSettings, closing: threading.Event
) -> tuple[int, str]:
    """Return the child's answer: 200, or the status and the sentence of a refusal."""
    order = {
        "path": str(path.absolute()),
        "kind": kind,
        "max_features": settings.max_features,
        "max_vertices": settings.max_vertices,
        "max_bytes": settings.max_vector_bytes,
    }
    try:
        with _turn(closing):
            said, complaints = _child_says(json.dumps(order), closing)
        found = json.loads(said)
        if complaints:
            logger.info("counting vectors said: %s", complaints.strip()[-SAID:])
    except subprocess.TimeoutExpired:
        return 413, f"{path.name} takes longer than {TIMEOUT_S} s to read: cut it up"
    except (subprocess.CalledProcessError, ValueError) as err:
        logger.warning("counting vectors broke down: %s", _last_words(err))
        return 422, f"{path.name} cannot be read, its reader broke down over it: export it again"
    return int(found["status"]), str(found["detail"])


@contextmanager
def _turn(closing: threading.Event) -> Iterator[None]:
    """Wait until there are fewer children than may run; raise ServiceError where it is in vain."""
    while not AT_A_TIME.acquire(timeout=LOOK_S):
        require_open(closing)
    try:
        yield
    finally:
        AT_A_TIME.release()


def _child_says(order: str, closing: threading.Event) -> tuple[str, str]:
    """Return what a child writes to stdout and stderr; it ends when anything is raised."""
    command = [sys.executable, "-m", "api.vector_child"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    left: str | None = order
    pipe, until = subprocess.PIPE, time.monotonic() + TIMEOUT_S
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    ) as child:
        try:
            while True:
                require_open(closing)
                try:
                    # Said once; what was read before a time-out is in the answer of a later call.
                    said, complaints = child.communicate(left, timeout=LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > until:
                        raise
                left = None
        finally:
            child.kill()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, said, complaints)
    return said, complaints


def _last_words(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit code {error.returncode}: {str(error.stderr).strip()[-SAID:]}"
    return str(error)
