"""What a file of buildings or areas may hold: counted by a child process with limits."""

import json
import os
import subprocess
import sys
from pathlib import Path

from api.problems import ServiceError
from api.settings import ServiceSettings

TIMEOUT_S = 300
"""How long counting may take: 2 million buildings as GeoJSON take about a minute."""


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
    except subprocess.TimeoutExpired:
        return 413, f"{path.name} takes longer than {TIMEOUT_S} s to read: cut it up"
    except (subprocess.CalledProcessError, ValueError):
        return 422, f"{path.name} cannot be read, its reader broke down over it: export it again"
    return int(found["status"]), str(found["detail"])
