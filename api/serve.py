"""`serve`: the application, and workers beside it, until SIGTERM or SIGINT."""

import signal
import socket
import sys
from threading import Event
from types import FrameType

import uvicorn

from api.app import create_app
from api.guard import require_keys_for
from api.hardening import harden_gdal
from api.logs import set_up_logs
from api.routes.page import is_built
from api.settings import ServiceSettings
from api.store.database import Database
from api.worker_processes import workers_beside
from damagenet.errors import ConfigError

BACKLOG = 2048
GRACE_S = 3
"""Seconds that open requests have to end."""


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
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    server.closing = app.state.closing
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    with workers_beside(settings):
        address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
        sys.stderr.write(
            f"damagenet: serving at {address} (page: {address}/, API: {address}/docs)\n"
        )
        if not is_built():
            sys.stderr.write("damagenet: the page is not built: `make ui` builds it (Node 20)\n")
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that tells streams of events to end, which otherwise nothing would."""

    closing: Event

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear a signal."""
        self.closing.set()
        super().handle_exit(sig, frame)


def _stop(*_signal: object) -> None:
    """End `serve` in order: uvicorn hands a signal on when the last request is answered."""
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    try:
        kind, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(kind, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        # From here on the system takes requests, which wait until the application is up.
        listening.listen(BACKLOG)
    except OSError as err:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({err.strerror}): take another --host or --port"
        ) from err
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
