"""Assessments: ask for one, see how it goes, dismiss it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.accepting import Asked, accept, delete_unless_kept, new_job_id
from api.callers import Caller
from api.examples import ACCEPTED_JOB, DISMISSED_JOB, RUNNING_JOB, example
from api.form import form_schema
from api.guard import caller
from api.multipart import receive_form
from api.problems import problems
from api.routes import service_of
from api.schemas import JobPage, JobStatus, Link, Status
from api.statuses import job_status
from api.store.tables import DISMISSED, WAITING, Job

router = APIRouter(prefix="/v1/assessments", tags=["assessments"])

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the assessment.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        min_length=1,
        description="Your name for this request: sent again, it makes no second job.",
    ),
]
Reader = Annotated[Caller, Depends(caller("read"))]
Writer = Annotated[Caller, Depends(caller("write"))]
PAGE = {"jobs": [RUNNING_JOB], "links": [{"href": "/v1/assessments", "rel": "self"}]}
EARLIER: dict[int | str, dict[str, Any]] = {
    200: {
        "model": JobStatus,
        "description": "The job of an earlier request with this Idempotency-Key.",
    }
}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The job; `Location` says where to ask how it goes.",
        "content": {"application/json": {"example": ACCEPTED_JOB}},
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Of the job."}},
    }
}


def request_body() -> dict[str, Any]:
    """Return the form for the OpenAPI document; the route reads it as a stream by itself."""
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form_schema()}},
        }
    }


@router.post(
    "",
    status_code=201,
    summary="Assess scenes",
    responses=ACCEPTED | EARLIER | problems(400, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=request_body(),
)
async def create_assessment(
    request: Request,
    response: Response,
    caller: Writer,
    idempotency_key: IdempotencyKey = None,
) -> JobStatus:
    """Send scenes, and beside them buildings, pictures from before the storm and options.

    The files go straight to disk. The answer comes when they are there and can be used; the job
    then waits for a worker. `Location` says where to ask how it goes.
    """
    service = service_of(request)
    job_id = new_job_id()
    folder = service.folders.job(job_id)
    try:
        received = await receive_form(
            request,
            folder,
            max_bytes=service.settings.max_upload_bytes,
            closing=service.inspecting.closing,
        )
        asked = Asked(
            job_id=job_id,
            owner=caller.owner,
            received=received,
            idempotency_key=idempotency_key,
        )
        job = await service.inspecting.run(lambda: accept(service, asked))
    except BaseException:
        await run_in_threadpool(delete_unless_kept, service, job_id)
        raise
    return accepted(response, job, new=job.id == job_id)


def accepted(response: Response, job: Job, *, new: bool) -> JobStatus:
    """Answer with a job that was asked for: 201 and where it is, 200 for one of an earlier request.

    Args:
        response: To be sent.
        job: The job.
        new: Whether this request made it.
    """
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/assessments/{job.id}"
    return job_status(job)


@router.get(
    "",
    summary="Your assessments",
    responses=example(200, "Jobs, and the link `next` to more.", PAGE) | problems(422),
)
def list_assessments(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(description="From the link `next`.")] = None,
    status: Status | None = None,
) -> JobPage:
    """List your assessments, the newest first."""
    page = service_of(request).jobs.page(caller.owner, limit=limit, cursor=cursor, status=status)
    here = request.url
    links = [Link(href=_address(here), rel="self", type="application/json")]
    if page.cursor is not None:
        following = here.include_query_params(cursor=page.cursor)
        links.append(Link(href=_address(following), rel="next", type="application/json"))
    return JobPage(jobs=[job_status(job) for job in page.jobs], links=links)


@router.get(
    "/{job_id}",
    summary="How an assessment goes",
    responses=example(200, "Where it stands.", RUNNING_JOB) | problems(404, 422),
)
def get_assessment(request: Request, caller: Reader, job_id: JobId) -> JobStatus:
    """Say where an assessment stands, and when it is done, what came out."""
    return job_status(service_of(request).jobs.get(job_id, caller.owner))


@router.delete(
    "/{job_id}",
    summary="Dismiss or delete",
    responses=example(200, "Stopped or deleted.", DISMISSED_JOB) | problems(404, 422),
)
def delete_assessment(request: Request, caller: Writer, job_id: JobId) -> JobStatus:
    """Stop an assessment that waits or runs; delete one that has ended. Its files go at once."""
    service = service_of(request)
    before = service.jobs.get(job_id, caller.owner)
    job = service.jobs.dismiss(job_id, caller.owner)
    stopped = before.status in WAITING and job.status == DISMISSED
    if not stopped:
        service.jobs.remove(job_id, caller.owner)
        job.status = DISMISSED
    # Files without a row are cleared by a worker; a row without files would be in the way.
    service.folders.job(job_id).delete()
    return job_status(job)


def _address(url: Any) -> str:
    return f"{url.path}?{url.query}" if url.query else str(url.path)
