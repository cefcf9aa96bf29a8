"""How large a request may be, whatever reads it."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import ServiceError, problem_of, respond

MIB = 2**20
MAX_TEXT_BYTES = 32 * MIB
"""Bytes of a request that is held in memory, such as JSON: 200,000 labels take about 20 MB."""
FILE_TYPES = ("multipart/form-data", "application/octet-stream")
"""Types that are written to disk as they come, under the limit of uploads."""


class LimitedBodies:
    """Refuses bodies beyond a limit, by what is announced and by what comes.

    Args:
        app: What answers.
        max_upload_bytes: Bytes of a request with files.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self._app, self._max_upload_bytes = app, max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what comes, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most, name = self._most(scope["method"], headers.get("content-type", ""))
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            error = ServiceError(413, _too_large(most, name), {"Connection": "close"})
            await respond(problem_of(error), Request(scope), error.headers)(scope, receive, send)
            return
        received = 0

        async def receive_counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                # Of all errors, this is the one that every reader of bodies lets through.
                raise HTTPException(413, _too_large(most, name), {"Connection": "close"})
            return message

        await self._app(scope, receive_counting, send)

    def _most(self, method: str, content_type: str) -> tuple[int, str]:
        """Return the limit in bytes, and what it is called."""
        kind = content_type.partition(";")[0].strip().lower()
        # A part of a file is sent with PUT, under any type.
        if method == "PUT" or kind in FILE_TYPES:
            return self._max_upload_bytes, "max_upload_bytes"
        return MAX_TEXT_BYTES, "what is no file"


def _too_large(most: int, name: str) -> str:
    return f"the request is larger than {most:,} bytes ({name}): send less at a time"
