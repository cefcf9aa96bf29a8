"""The page at /ui/: files that `make ui` builds; none of them is secret, so no key is asked for."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from api.problems import not_found

DIST = Path(__file__).resolve().parent.parent / "ui" / "dist"
"""Where Vite leaves the page; in a wheel, where the wheel has it."""
INDEX = "index.html"

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
"""Names under `assets/` hold a hash of the file and never change; all others may tomorrow."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""What the page may load: itself, and what it asks the service for. A worker takes its policy from
its own script, so scripts bear it as well."""

NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>damagenet</title></head>
<body><h1>The page is not built</h1>
<p>The service runs; its page is missing. Build it where damagenet was checked out, with Node 20 or
newer: <code>make ui</code>. Or install damagenet from a wheel, which has it.</p>
<p>Everything else works without it: see
<a href="../openapi.json">the description of the service</a>.</p>
</body></html>
"""

router = APIRouter(include_in_schema=False)


def is_built() -> bool:
    """Return whether there is a page to serve."""
    return (DIST / INDEX).is_file()


@router.get("/ui")
def to_page() -> RedirectResponse:
    """Lead to the page; addresses in it are relative to /ui/."""
    return RedirectResponse("ui/", status_code=308)


@router.get("/docs")
def to_reference() -> RedirectResponse:
    """Lead to the description of the service, made readable in the browser from /openapi.json."""
    return RedirectResponse("ui/reference.html")


@router.api_route("/ui/{name:path}", methods=["GET", "HEAD"])
def page_file(name: str = "") -> Response:
    """Return a file of the page.

    Raises:
        ServiceError: 404 for a file that is not there, or lies elsewhere.
    """
    if not is_built():
        return HTMLResponse(NOT_BUILT, status_code=503, headers={"Cache-Control": ASK_AGAIN})
    path = DIST / (name or INDEX)
    try:
        path = path.resolve()
        found = path.is_relative_to(DIST) and path.is_file()
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL
        found = False
    if not found:
        raise not_found("file of the page")
    lasting = path.parent == DIST / "assets"
    headers = {
        "Cache-Control": FOR_EVER if lasting else ASK_AGAIN,
        "Content-Security-Policy": POLICY,
    }
    return FileResponse(path, headers=headers)
