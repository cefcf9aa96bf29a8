"""Headers that tell browsers what an answer may do: next to nothing, unless it is the page."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PLAIN = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every answer. No other site may show or read it in a browser; programs do not care."""
PRIVATE = "private, no-cache"
"""Kept by no shared cache, and asked for again before it is used: keys end."""

NOTHING_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"
"""For answers that are no page: opened in a browser they run nothing and load nothing."""
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""For the page: its own files and no script inside the HTML, so that no name can become one."""
REPORT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "frame-ancestors 'self'",
        "base-uri 'none'",
        "sandbox allow-scripts allow-popups allow-downloads allow-modals",
    )
)
"""For `report.html`, a page of one file: its scripts run, but in an origin of their own that can
neither ask the service anything nor see its cookie."""
REPORT = "/report.html"


class SafeHeaders:
    """Adds the headers to every answer that does not bring its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in safe_headers(scope["path"], headers.get("content-type")).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def safe_headers(path: str, content_type: str | None) -> dict[str, str]:
    """Return the headers of one answer.

    Args:
        path: Path of the request.
        content_type: Of the answer, if it has any.
    """
    if not (content_type or "").startswith("text/html"):
        policy = NOTHING_POLICY
    else:
        policy = REPORT_POLICY if path.endswith(REPORT) else PAGE_POLICY
    return PLAIN | {"Cache-Control": PRIVATE, "Content-Security-Policy": policy}
