"""`python -m api.vector_child`: count one vector file, with little memory and no network.

Parsers of vector formats are large, and what a file makes of them in memory and time cannot be
told beforehand; so they work here, where they may break down, and never inside the service. An
order comes as JSON on stdin, the answer goes as JSON to stdout.
"""

import json
import sys
from pathlib import Path

from api.hardening import harden_gdal
from api.sentences import without_library
from api.vector_counting import Count, TooMuchError, count_vectors
from damagenet.errors import DamageNetError

GIB = 2**30
MEMORY_BYTES = 4 * GIB
"""Address space of this process."""
CPU_S = 300


def main() -> None:
    """Read the order, count, and answer with the status of the request."""
    _limit_process()
    harden_gdal()
    order = json.loads(sys.stdin.read())
    count = Count(
        path=Path(order["path"]),
        max_features=order["max_features"],
        max_vertices=order["max_vertices"],
        max_bytes=order["max_bytes"],
    )
    status, detail = 200, ""
    try:
        count_vectors(count, order["kind"])
    except TooMuchError as err:
        status, detail = 413, str(err)
    except DamageNetError as err:
        status, detail = 422, without_library(str(err))
    sys.stdout.write(json.dumps({"status": status, "detail": detail}))


def _limit_process() -> None:
    if sys.platform == "win32":
        return  # which has no such limits
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
