"""The workers that `serve` keeps beside the API: started, started again, and told to stop."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from api.settings import ServiceSettings

logger = logging.getLogger(__name__)

LOOK_S = 0.5
AGAIN_S = 2.0
"""Wait before a worker that died is started again."""
END_S = 5.0
"""Seconds that a worker has to give its job back."""


@contextmanager
def workers_beside(settings: ServiceSettings) -> Iterator[None]:
    """Keep as many workers as the settings say while the block runs; one that dies is replaced."""
    ended = threading.Event()
    keepers = [
        threading.Thread(target=_keep_worker, args=(settings, ended), name=f"worker {number}")
        for number in range(settings.workers)
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        ended.set()
        for keeper in keepers:
            keeper.join()


def _keep_worker(settings: ServiceSettings, ended: threading.Event) -> None:
    while not ended.is_set():
        worker = subprocess.Popen(
            # The worker ends with this process, whose id it is told.
            [sys.executable, "-m", "api.worker", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            env=os.environ | environment(settings),
            # Ctrl-C goes to `serve` alone, which tells its workers.
            start_new_session=True,
        )
        while worker.poll() is None and not ended.wait(LOOK_S):
            continue
        if ended.is_set():
            _end(worker)
        else:
            logger.warning("a worker ended by itself (%s) and is replaced", worker.returncode)
            ended.wait(AGAIN_S)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(END_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def environment(settings: ServiceSettings) -> dict[str, str]:
    """Return settings as environment variables, which is how a child process takes them."""
    values = settings.model_dump(mode="json")
    return {
        f"DAMAGENET_{name.upper()}": _text(value)
        for name, value in values.items()
        if value not in (None, [])
    }


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
