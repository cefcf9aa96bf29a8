"""Who may come in: the dependency `caller(scope)` of every route, and the checks behind it.

A caller shows a key in `Authorization: Bearer KEY` or `X-API-Key`, or, in a browser, the cookie
that `POST /v1/session` gave for one. A service without keys takes everybody for `local`.
"""

import ipaddress
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from api.callers import LOCAL, Caller, Scope
from api.keys import SCOPES
from api.problems import ServiceError, problems
from api.service import service_of
from api.settings import ServiceSettings
from api.store.database import Database
from api.store.keys import KeyStore
from damagenet.errors import ConfigError

COOKIE = "damagenet_session"
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="damagenet"'}

_BEARER = HTTPBearer(auto_error=False, description="An API key, from `damagenet keys add`.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key.")
_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, description="From `POST /v1/session`.")


REFUSALS = problems(401, 403, 429)
"""What `caller` may answer, for the OpenAPI document: `responses=REFUSALS`."""


Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
Header = Annotated[str | None, Security(_HEADER)]
Cookie = Annotated[str | None, Security(_COOKIE)]


@cache
def caller(scope: Scope) -> Callable[..., AsyncIterator[Caller]]:
    """Return a dependency that gives the caller of a request, if it may do what `scope` says.

    It answers 401 without a known key, 403 where the key lacks the scope or another site sent the
    request through a browser, and 429 beyond the caller's limits.
    """

    async def dependency(
        request: Request, bearer: Bearer, header: Header, cookie: Cookie
    ) -> AsyncIterator[Caller]:
        found = await _find(request, bearer.credentials if bearer else header, cookie)
        request.state.key_id = found.owner
        limits, who = service_of(request).limits, _who(request, found)
        limits.begin(who)
        try:
            if not found.may(scope):
                raise ServiceError(
                    403, f"this key may not {scope}: ask for one with the scope {scope}"
                )
            yield found
        finally:
            limits.end(who)

    return dependency


async def optional_caller(
    request: Request, bearer: Bearer, header: Header, cookie: Cookie
) -> Caller | None:
    """Give the caller of a request, or None where 401 would be answered."""
    try:
        found = await _find(request, bearer.credentials if bearer else header, cookie)
    except ServiceError as err:
        if err.status != 401:
            raise
        return None
    request.state.key_id = found.owner
    return found


async def still_allowed(request: Request) -> bool:
    """Return whether what a request showed still opens the service: no longer once it is revoked.

    For answers that last; the database is asked every few seconds only.
    """
    bearer, header, cookie = await _BEARER(request), await _HEADER(request), await _COOKIE(request)
    try:
        await _find(request, bearer.credentials if bearer else header, cookie)
    except ServiceError as err:
        # One who asks too often is not one whose key has ended.
        return err.status != 401
    return True


async def _find(request: Request, key: str | None, cookie: str | None) -> Caller:
    service = service_of(request)
    if key is not None:
        return await _look_up(request, key, service.keys.caller_of_key)
    if not service.settings.require_keys:
        refuse_other_sites(request, strict=False)
        return Caller(owner=LOCAL, scopes=frozenset(SCOPES))
    if cookie is None:
        raise _unknown("an API key is needed")
    refuse_other_sites(request, strict=True)
    return await _look_up(request, cookie, service.keys.caller_of_session)


async def _look_up(request: Request, text: str, ask: Callable[[str], Caller | None]) -> Caller:
    """Return the caller behind a key or session; the database is asked every few seconds only."""
    service = service_of(request)
    remembered = service.keys.remembered(text)
    if remembered is not None:
        return remembered
    # What is unknown is counted by address, so that nobody keeps the database busy by guessing.
    service.limits.begin(address := _address(request))
    try:
        found = await run_in_threadpool(ask, text)
    finally:
        service.limits.end(address)
    if found is None:
        raise _unknown("this API key or session is unknown or has ended")
    return found


def _unknown(what: str) -> ServiceError:
    detail = f"{what}: send one from `damagenet keys add` as Authorization: Bearer KEY"
    return ServiceError(401, detail, CHALLENGE)


def refuse_other_sites(request: Request, *, strict: bool) -> None:
    """Refuse a writing request that a page of another site sent through the caller's browser.

    Browsers name the page's site in `Origin` with every writing request. Programs do not, and
    have no cookie that could be misused.

    Args:
        request: The request.
        strict: Also refuse where nothing tells the origin, as with a cookie.

    Raises:
        ServiceError: 403.
    """
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if origin is not None:
        # A proxy may have taken TLS off, so that only host and port can be compared.
        allowed = _host_of(origin) == request.headers.get("host", "").lower()
    else:
        allowed = site in ("same-origin", "none") if site else not strict
    if not allowed:
        raise ServiceError(
            403,
            "this request did not come from the service's own page: open that, or send an API key",
        )


def _host_of(origin: str) -> str | None:
    """Return host and port of an address in lower case; None for what is no address."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def require_keys_for(
    host: str, settings: ServiceSettings, database: Database, *, insecure: bool = False
) -> ServiceSettings:
    """Return the settings to serve an address with: others than loopback want keys.

    Args:
        host: The address to listen on.
        settings: Settings as they were given.
        database: Where the keys are.
        insecure: Serve any address without keys, because the caller said so by name.

    Raises:
        ConfigError: If keys are needed and there is none.
    """
    if insecure and not settings.require_keys:
        return settings.model_copy(update={"allowed_hosts": settings.allowed_hosts or ("*",)})
    if is_loopback(host) and not settings.require_keys:
        return settings
    if not KeyStore(database).any():
        raise ConfigError(
            f"{host} can be reached by others and there is no API key: make one with "
            "`damagenet keys add NAME`, serve on 127.0.0.1, or pass --insecure"
        )
    return settings.model_copy(update={"require_keys": True})


def _who(request: Request, found: Caller) -> str:
    """Return whose limits count: those of the key, or of the address where there are no keys."""
    return found.owner if found.owner != LOCAL else _address(request)


def _address(request: Request) -> str:
    return f"address {request.client.host}" if request.client else "address unknown"
