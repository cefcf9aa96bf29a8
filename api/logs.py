"""The log: one line of JSON for each request and each thing that happens, never a key."""

import datetime as dt
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.methods import method_of

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
UNMATCHED = "unmatched"
"""Route of requests to addresses that there are not."""

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Watcher = Callable[[str, str, int, float], None]
"""Told of every answered request: method, route, status, seconds."""


class RequestLog:
    """Gives every request an id, and logs it when it is answered.

    Args:
        app: What answers.
        watch: Also told of each request.
    """

    def __init__(self, app: ASGIApp, watch: Watcher) -> None:
        self._app, self._watch = app, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count and log it at the end of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope).get(REQUEST_ID))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        # Where nothing is answered the service has failed, and somebody outside answers 500.
        status, begun = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begun
            route = route_of(scope)
            self._watch(method_of(scope), route, status, seconds)
            logger.info("request", extra={"fields": _fields(scope, route, status, seconds)})


def request_id_of(sent: str | None) -> str:
    """Return the id that the caller gave a request, if it is a plain one, else a new one."""
    return sent if sent and _SANE_ID.fullmatch(sent) else uuid4().hex


def route_of(scope: Scope) -> str:
    """Return the pattern of the address, as in `/v1/assessments/{job_id}`: never what was asked.

    An address as it was sent may hold anything, and there is no end to them.
    """
    path = getattr(scope.get("route"), "path", None)
    if path is not None:
        return str(path)
    # A folder of files, such as the page, is one route.
    return scope.get("app_root_path") or scope.get("root_path") or UNMATCHED


def _fields(scope: Scope, route: str, status: int, seconds: float) -> dict[str, Any]:
    state = scope["state"]
    return {
        "request_id": state["request_id"],
        "method": method_of(scope),
        "route": route,
        "status": status,
        "ms": round(1000 * seconds, 1),
        "key": state.get("key_id"),
    }


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what `extra={"fields": {...}}` holds stands beside the message."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        } | getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logs(level: int = logging.INFO) -> None:
    """Let everything that is logged in this process go to stderr as lines of JSON.

    For a process that serves; uvicorn must be started with `log_config=None, access_log=False`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it counts the records it has written
