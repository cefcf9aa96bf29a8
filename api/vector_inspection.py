"""What a file of buildings or areas may hold: counted by a child process with limits."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from api.problems import ServiceError
from api.settings import ServiceSettings

logger = logging.getLogger(__name__)

TIMEOUT_S = 300
"""How long counting may take."""
SAID = 2000
"""Characters of what a child says that are logged."""
AT_A_TIME = threading.BoundedSemaphore(2)
"""Children that may run beside each other: each may take gigabytes."""


def inspect_vectors(path: Path, kind: str, settings: ServiceSettings) -> None:
    """Refuse a vector file that holds too much, or coordinates that are no numbers.

    Args:
        path: The file.
        kind: What its first bytes say that it is; see `api.vector_counting`.
        settings: Limits of the service.

    Raises:
        ServiceError: 413 beyond a limit, 422 where it cannot be read.
    """
    size = path.stat().st_size
    if size > settings.max_vector_bytes:
        raise ServiceError(
            413,
            f"{path.name} has {size:,} bytes, more than {settings.max_vector_bytes:,} "
            "(max_vector_bytes): leave out columns or buildings",
        )
    status, detail = _ask_child(path, kind, settings)
    if status != 200:
        raise ServiceError(status, detail)


def _ask_child(path: Path, kind: str, settings: ServiceSettings) -> tuple[int, str]:
    """Return the child's answer: 200, or the status and the sentence of a refusal."""
    order = {
        "path": str(path.absolute()),
        "kind": kind,
        "max_features": settings.max_features,
        "max_vertices": settings.max_vertices,
        "max_bytes": settings.max_vector_bytes,
    }
    command = [sys.executable, "-m", "api.vector_child"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        with AT_A_TIME:
            answer = subprocess.run(
                command,
                input=json.dumps(order),
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                env=environment,
                check=True,
            )
        found = json.loads(answer.stdout)
        if answer.stderr:
            logger.info("counting vectors said: %s", answer.stderr.strip()[-SAID:])
    except subprocess.TimeoutExpired:
        return 413, f"{path.name} takes longer than {TIMEOUT_S} s to read: cut it up"
    except (subprocess.CalledProcessError, ValueError) as err:
        logger.warning("counting vectors broke down: %s", _last_words(err))
        return 422, f"{path.name} cannot be read, its reader broke down over it: export it again"
    return int(found["status"]), str(found["detail"])


def _last_words(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit code {error.returncode}: {str(error.stderr).strip()[-SAID:]}"
    return str(error)
