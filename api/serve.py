"""`serve`: the application, and workers beside it, until SIGTERM or SIGINT."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.app import create_app
from api.guard import require_keys_for
from api.hardening import harden_gdal
from api.logs import set_up_logs
from api.settings import ServiceSettings
from api.store.database import Database
from damagenet.errors import ConfigError

LOOK_S = 0.5
END_S = 10.0
"""Seconds that workers have to give their jobs back, and that requests have to end."""


def serve(settings: ServiceSettings, *, host: str, port: int, insecure: bool) -> None:
    """Answer requests, and keep as many workers as the settings say, until told to stop.

    Args:
        settings: Of the service.
        host: Address to listen on.
        port: 0 for one that is free.
        insecure: Serve other machines although there are no keys.

    Raises:
        ConfigError: If the address is taken, database or queue do not answer, or other machines
            could ask without a key.
    """
    database = Database(settings.database)
    settings = require_keys_for(host, settings, database, insecure=insecure)
    database.close()
    set_up_logs()
    harden_gdal()
    app = create_app(settings)
    listening = _listen(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(END_S),
    )
    with workers_beside(settings):
        address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
        sys.stderr.write(
            f"damagenet: serving at {address} (page: {address}/, API: {address}/docs)\n"
        )
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def workers_beside(settings: ServiceSettings) -> Iterator[None]:
    """Keep workers running while the block runs; one that dies is started again."""
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
            [sys.executable, "-m", "api.worker"],
            stdin=subprocess.DEVNULL,
            env=os.environ | environment(settings),
            # Ctrl-C goes to serve alone, which tells its workers.
            start_new_session=True,
        )
        while worker.poll() is None and not ended.wait(LOOK_S):
            continue
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(END_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        elif not ended.is_set():
            sys.stderr.write(
                f"damagenet: a worker ended ({worker.returncode}) and is started again\n"
            )
            time.sleep(LOOK_S)


def environment(settings: ServiceSettings) -> dict[str, str]:
    """Return settings as environment variables, which is how a child process takes them."""
    return {
        f"DAMAGENET_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.model_dump(mode="json").items()
        if value is not None
    }


def _listen(host: str, port: int) -> socket.socket:
    try:
        kind, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(kind, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
    except OSError as err:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({err.strerror}): take another --host or --port"
        ) from err
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
