"""Under which names a service without keys may be called."""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import ServiceError, problem_of, respond

ANY = "*"


class KnownHosts:
    """Refuses requests to a name that somebody else may have pointed to this machine.

    A page of another site reaches a service on loopback if its own name is made to resolve to
    127.0.0.1; its requests then carry that name. (DNS rebinding.)
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 421."""
        if scope["type"] == "http" and not self._known(Headers(scope=scope).get("host", "")):
            error = ServiceError(
                421,
                "this name is not known to the service: call it by IP address, or name it in "
                "DAMAGENET_ALLOWED_HOSTS",
            )
            await respond(problem_of(error), Request(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _known(self, host: str) -> bool:
        name = host_name(host)
        return ANY in self._allowed or name in self._allowed or cannot_be_rebound(name)


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port, in lower case."""
    return re.sub(r":\d+$", "", host.strip()).strip("[]").rstrip(".").lower()


def cannot_be_rebound(name: str) -> bool:
    """Return whether nobody but the network's owner can say where a name points.

    Names without a dot are resolved by the machine or its own network; public ones have a dot.
    """
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name and ":" not in name
    return True
