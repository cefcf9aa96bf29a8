"""The same files once more, with another model, and what that changed."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import JsonValue

from api.changes import Changes, find_changes
from api.following import Wish, assess_again, finished, follow
from api.form import OFFERED
from api.guard import REFUSALS
from api.problems import problems
from api.routes import service_of
from api.routes.assessments import EARLIER, IdempotencyKey, JobId, Reader, Writer, accepted
from api.schemas import JobStatus
from damagenet.options import AssessOptions

router = APIRouter(prefix="/v1/assessments", tags=["assessments"], responses=REFUSALS)


def options_schema() -> dict[str, Any]:
    """Return the options of an assessment as a JSON schema; null stands for the default."""
    own = AssessOptions.model_json_schema()["properties"]
    return {
        "type": "object",
        "properties": {name: {"anyOf": [own[name], {"type": "null"}]} for name in OFFERED},
        "additionalProperties": False,
    }


@router.post(
    "/{job_id}/again",
    status_code=201,
    summary="Assess the same files again",
    responses=EARLIER | problems(400, 404, 409, 413, 422, 429),
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": options_schema()}}}},
)
def post_again(
    request: Request,
    response: Response,
    caller: Writer,
    job_id: JobId,
    *,
    given: Annotated[dict[str, JsonValue] | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> JobStatus:
    """Assess the files of an assessment with some options changed; nothing is sent again.

    Labels go along where the new assessment has the same units.
    """
    service, changed = service_of(request), given or {}
    job, new = follow(
        service,
        finished(service, job_id, caller.owner),
        Wish(process="assess", asked=changed, idempotency_key=idempotency_key),
        lambda new: assess_again(new, changed),
    )
    return accepted(response, job, new=new)


@router.get(
    "/{job_id}/changes",
    summary="What another model changed",
    responses=problems(404, 409, 422),
)
def get_changes(
    request: Request,
    caller: Reader,
    job_id: JobId,
    against: Annotated[str, Query(pattern="^[0-9a-f]{32}$", description="The one before.")],
    limit: Annotated[int, Query(ge=0, le=100_000, description="Units listed.")] = 10_000,
) -> Changes:
    """List the units whose label is another one than in an earlier assessment."""
    service = service_of(request)
    after, before = (finished(service, one, caller.owner) for one in (job_id, against))
    return find_changes(
        service.folders.job(after.id).results,
        service.folders.job(before.id).results,
        ids=(after.id, before.id),
        limit=limit,
    )
