"""How OGC API wants requests refused: 400 for any wrong parameter, unknown ones included."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api.problems import ServiceError, problem_of, respond

JSON = "application/json"
GEOJSON = "application/geo+json"


EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"


class OgcError(ServiceError):
    """A refusal that OGC API Processes has a name for, such as no-such-job."""

    def __init__(self, status: int, name: str, detail: str) -> None:
        super().__init__(status, detail)
        self.name = name


class OgcRoute(APIRoute):
    """A route whose wrong parameters are answered by 400 (OGC 17-069r4, 7.8 and 7.9)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        known = _query_names(self.dependant)

        async def checked(request: Request) -> Response:
            unknown = sorted(set(request.query_params) - known)
            if unknown:
                choices = ", ".join(sorted(known)) or "none"
                raise ServiceError(
                    400, f"parameter {unknown[0][:80]!r} is unknown here; there are: {choices}"
                )
            try:
                return await answer(request)
            except RequestValidationError as err:
                raise ServiceError(400, _faults(err)) from None
            except OgcError as err:
                named = problem_of(err).model_copy(update={"type": f"{EXCEPTION}/{err.name}"})
                return respond(named, request)

        return checked


def base_of(request: Request) -> str:
    """Return the address of the service as the caller reaches it, without a slash at the end."""
    return str(request.base_url).rstrip("/")


def _query_names(dependant: Dependant) -> set[str]:
    """Return the query parameters of a route and of what it depends on."""
    inner = (_query_names(one) for one in dependant.dependencies)
    return {one.alias for one in dependant.query_params}.union(*inner)


def _faults(error: RequestValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(step) for step in fault['loc'][1:]) or 'request'}: {fault['msg']}"
        for fault in error.errors()
    )
