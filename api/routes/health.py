"""Whether the service lives, whether it can work, and its figures."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.callers import Caller
from api.guard import REFUSALS, caller
from api.problems import ServiceError, problems
from api.readiness import faults
from api.routes import service_of
from api.schemas import Answer

router = APIRouter(tags=["health"])

FIGURES: dict[int | str, dict[str, Any]] = {
    **REFUSALS,
    200: {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    },
}


class Health(Answer):
    """That all is well."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", summary="Does it live")
async def live() -> Health:
    """Answer as long as the process can; nothing else is asked."""
    return Health()


@router.get("/readyz", summary="Can it work", responses=problems(503))
def ready(request: Request) -> Health:
    """Ask the database, the data folder and the queue; 503 names those that fail."""
    found = faults(service_of(request))
    if found:
        raise ServiceError(503, "; ".join(found), {"Retry-After": "5"})
    return Health()


@router.get(
    "/metrics", summary="Figures for Prometheus", response_class=Response, responses=FIGURES
)
def figures(request: Request, _caller: Annotated[Caller, Depends(caller("read"))]) -> Response:
    """Count requests, jobs and units of all callers; give Prometheus a key with the scope read."""
    text = service_of(request).metrics.text()
    return Response(text, media_type=CONTENT_TYPE_LATEST)
