"""Methods of HTTP: which ones an address knows, and HEAD for everything that GET answers."""

from anyio import CancelScope
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
"""Methods of RFC 9110 and RFC 5789."""
OTHER = "OTHER"


def method_of(scope: Scope) -> str:
    """Return the method of a request, or `OTHER`: callers may send any word, without end."""
    return scope["method"] if scope["method"] in METHODS else OTHER


def methods_at(scope: Scope) -> list[str]:
    """Return the methods that the routes of a request's address have, in order of the alphabet.

    Args:
        scope: Of the request; it names the application.
    """
    routes = scope["app"].routes
    return [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] == Match.FULL for route in routes)
    ]


def allowed_at(scope: Scope) -> str:
    """Return the methods of a request's address as the header `Allow`."""
    found = set(methods_at(scope))
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))


class HeadAsGet:
    """Answers HEAD as GET without a body, where no route of the address knows HEAD itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; the body of an answer to HEAD ends before its first byte."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or "HEAD" in methods_at(scope):
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}
        with CancelScope() as answering:

            async def send_head(message: Message) -> None:
                if message["type"] != "http.response.body":
                    await send(message)
                elif not answering.cancel_called:
                    await send({**message, "body": b"", "more_body": False})
                    if message.get("more_body", False):
                        # What is left would be made in vain, and a stream of events never ends.
                        answering.cancel()

            try:
                await self._app(asked, receive, send_head)
            finally:
                # Who logs the request outside wants to know its route.
                scope.update({name: value for name, value in asked.items() if name != "method"})
