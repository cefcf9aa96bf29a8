"""The session of a browser, which cannot send a key with pictures, downloads and events."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api.callers import LOCAL, Caller, Scope
from api.guard import COOKIE, REFUSALS, caller, optional_caller
from api.keys import SCOPES
from api.problems import ServiceError, problems
from api.routes import service_of
from api.schemas import Answer
from api.store.database import now
from api.store.keys import SESSION_LIFE

router = APIRouter(prefix="/v1/session", tags=["session"])

Reader = Annotated[Caller, Depends(caller("read"))]
Known = Annotated[Caller | None, Depends(optional_caller)]


class SessionState(Answer):
    """Who asks, as the service sees it."""

    keys_required: bool
    """Whether an API key is needed at all."""
    key: str | None = Field(default=None, examples=["5f0c2b9a7d3e4f61"])
    """Id of the caller's key; null for a caller without one."""
    scopes: tuple[Scope, ...] = ()
    """What the caller may do."""
    expires: dt.datetime | None = None
    """When a session that was just opened ends."""


@router.get("", summary="Who am I", responses=problems(403, 429))
def get_session(request: Request, known: Known) -> SessionState:
    """Say whether a key is needed, and whose key or session came with the request.

    Without a known one it is no error: a page asks here whether it must ask for a key.
    """
    return _state(request, known)


@router.post("", status_code=201, summary="Open a session", responses=REFUSALS | problems(409))
async def open_session(request: Request, response: Response, caller: Reader) -> SessionState:
    """Give a browser a cookie for the API key that it sends in a header.

    The cookie is out of reach of scripts and is sent by this service's own pages only. It ends
    after 12 hours, with `DELETE`, or when its key is revoked.
    """
    if caller.owner == LOCAL:
        raise ServiceError(409, "this service needs no key: there is no session to open")
    text = await run_in_threadpool(service_of(request).keys.open_session, caller.owner)
    response.set_cookie(
        COOKIE,
        text,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _state(request, caller, expires=now() + SESSION_LIFE)


@router.delete("", status_code=204, summary="End the session", responses=problems(403))
async def close_session(request: Request, response: Response, _known: Known) -> None:
    """End the session of the cookie; without one nothing happens."""
    text = request.cookies.get(COOKIE)
    if text is not None:
        await run_in_threadpool(service_of(request).keys.close_session, text)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def _state(
    request: Request, known: Caller | None, expires: dt.datetime | None = None
) -> SessionState:
    return SessionState(
        keys_required=service_of(request).settings.require_keys,
        key=None if known is None or known.owner == LOCAL else known.owner,
        scopes=tuple(scope for scope in SCOPES if known and scope in known.scopes),
        expires=expires,
    )
