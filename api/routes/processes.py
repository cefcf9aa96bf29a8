"""OGC API Processes (OGC 18-062r2): the same jobs as under /v1/assessments, by the same ids."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.accepting import Asked, accept, delete_unless_kept, new_job_id
from api.callers import Caller
from api.execution import read_body, read_outputs, read_wanted, receive_inputs
from api.guard import caller
from api.ogc import JSON, OgcError, OgcRoute, base_of
from api.ogc_answers import JobList, ProcessDescription, ProcessList, Reference
from api.problems import ServiceError, problems
from api.process import ASSESS, assess_description, assess_summary
from api.result_files import MEDIA_TYPES
from api.routes import service_of
from api.routes.assessments import delete_assessment
from api.schemas import JobStatus, Link, Status
from api.shown import Reader
from api.statuses import job_status
from api.store.tables import DISMISSED, SUCCESSFUL, WAITING, Job

router = APIRouter(route_class=OgcRoute, tags=["OGC"])

RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
Writer = Annotated[Caller, Depends(caller("write"))]
EXECUTE: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {"type": "object", "description": "By name, as /processes/assess says."},
        "outputs": {"type": "object", "description": "Results to give out; without it, all."},
        "response": {"enum": ["raw", "document"], "default": "raw"},
    },
    "example": {
        "inputs": {"image": {"href": "/v1/uploads/0123456789abcdef0123456789abcdef"}},
        "response": "document",
    },
}
"""Body of an execution, for the OpenAPI document."""


@router.get(
    "/processes",
    response_model_exclude_none=True,
    summary="What can be asked for",
    responses=problems(400, 422),
)
def processes(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> ProcessList:
    """List the processes: there is one."""
    base = base_of(request)
    return ProcessList(
        processes=[assess_summary(base)][:limit],
        links=[Link(href=str(request.url), rel="self", type=JSON)],
    )


@router.get(
    "/processes/{process_id}",
    response_model_exclude_none=True,
    summary="A process",
    responses=problems(400, 404, 422),
)
def process(request: Request, process_id: str) -> ProcessDescription:
    """Describe a process with its inputs and outputs."""
    _check_process(process_id)
    return assess_description(base_of(request), max_scenes=service_of(request).settings.max_scenes)


@router.post(
    "/processes/{process_id}/execution",
    response_model_exclude_none=True,
    status_code=201,
    summary="Ask for an assessment",
    responses=problems(400, 404, 409, 413, 422, 429, 503),
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": EXECUTE}}}},
)
async def execute(
    request: Request,
    response: Response,
    process_id: str,
    writer: Writer,
    prefer: Annotated[str, Header(description="Jobs always run asynchronously.")] = "",
) -> JobStatus:
    """Make a job of inputs that are given by value, or as links to uploads of yours.

    `Location` says where to ask how it goes.
    """
    _check_process(process_id)
    body = await read_body(request)
    inspecting = service_of(request).inspecting
    job = await inspecting.run(lambda: _accepted(request, writer.owner, body))
    response.headers["Location"] = f"{base_of(request)}/jobs/{job.id}"
    if "respond-async" in prefer.lower():
        response.headers["Preference-Applied"] = "respond-async"
    return _status(request, job)


@router.get(
    "/jobs", response_model_exclude_none=True, summary="Your jobs", responses=problems(400, 422)
)
def jobs(
    request: Request,
    reader: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(description="From the link `next`.")] = None,
    status: Status | None = None,
) -> JobList:
    """List your jobs, the newest first."""
    page = service_of(request).jobs.page(reader.owner, limit=limit, cursor=cursor, status=status)
    links = [Link(href=str(request.url), rel="self", type=JSON)]
    if page.cursor is not None:
        following = request.url.include_query_params(cursor=page.cursor)
        links.append(Link(href=str(following), rel="next", type=JSON))
    return JobList(jobs=[_status(request, job) for job in page.jobs], links=links)


@router.get(
    "/jobs/{job_id}",
    response_model_exclude_none=True,
    summary="How a job goes",
    responses=problems(400, 404, 422),
)
def job(request: Request, reader: Reader, job_id: str) -> JobStatus:
    """Say where a job stands."""
    return _status(request, _job(request, reader, job_id))


@router.delete(
    "/jobs/{job_id}",
    response_model_exclude_none=True,
    summary="Dismiss or delete a job",
    responses=problems(400, 404, 422),
)
def dismiss(request: Request, writer: Writer, job_id: str) -> JobStatus:
    """Stop a job that waits or runs; delete one that has ended. Its files go at once."""
    _job(request, writer, job_id)
    return delete_assessment(request, writer, job_id)


@router.get(
    "/jobs/{job_id}/results",
    response_model_exclude_none=True,
    summary="Results of a job",
    response_model=dict[str, Reference],
    responses={
        204: {"description": "Results as `Link` headers, where the execution asked for raw ones."},
        **problems(400, 404, 410, 422, 500),
    },
)
def results(request: Request, reader: Reader, job_id: str) -> dict[str, Reference] | Response:
    """Return where the files of a finished job are."""
    found = _job(request, reader, job_id)
    _check_done(found)
    wanted = read_wanted(service_of(request).folders.job(job_id))
    references = {
        name: file
        for name, file in _references(base_of(request), found).items()
        if wanted.outputs is None or name.rsplit("/", maxsplit=1)[-1] in wanted.outputs
    }
    if not wanted.raw:
        return references
    links = [f'<{f.href}>; rel="item"; type="{f.type}"' for f in references.values()]
    return Response(status_code=204, headers={"Link": ", ".join(links)})


def _accepted(request: Request, owner: str, body: dict[str, Any]) -> Job:
    """Return the job of an execution; whatever is refused leaves no files."""
    service = service_of(request)
    wanted = read_outputs(body)
    job_id = new_job_id()
    folder = service.folders.job(job_id)
    try:
        received = receive_inputs(body["inputs"], folder, request.url.netloc)
        wanted.keep(folder)
        return accept(service, Asked(job_id=job_id, owner=owner, received=received))
    except BaseException:
        delete_unless_kept(service, job_id)
        raise


def _check_process(process_id: str) -> None:
    if process_id != ASSESS:
        raise OgcError(
            404, "no-such-process", f"there is no process {process_id[:80]!r}: ask for {ASSESS}"
        )


def _job(request: Request, asking: Caller, job_id: str) -> Job:
    try:
        return service_of(request).jobs.get(job_id, asking.owner)
    except ServiceError as err:
        raise OgcError(err.status, "no-such-job", "there is no such job here") from None


def _status(request: Request, job: Job) -> JobStatus:
    """Return what a caller is told of a job, with addresses of the OGC face."""
    own = f"{base_of(request)}/jobs/{job.id}"
    links = [
        Link(href=own, rel="self", type=JSON, title="This job"),
        Link(href=f"{base_of(request)}/v1/assessments/{job.id}", rel="alternate", type=JSON),
    ]
    if job.status == SUCCESSFUL:
        links.append(Link(href=f"{own}/results", rel=RESULTS, type=JSON, title="Results"))
    return job_status(job).model_copy(update={"links": links})


def _check_done(job: Job) -> None:
    """Raise what stands in the way of results."""
    if job.status in WAITING:
        raise OgcError(404, "result-not-ready", "the job is not finished: ask again later")
    if job.status == DISMISSED:
        raise ServiceError(410, "the job was dismissed and has no results")
    if job.status != SUCCESSFUL:
        problem = job.problem or {}
        raise ServiceError(problem.get("status", 500), problem.get("detail", "the job failed"))


def _references(base: str, job: Job) -> dict[str, Reference]:
    """Return the files of a finished job by name, those of one scene alone without its name."""
    own, result = f"{base}/v1/assessments/{job.id}/results", job.result or {}
    scenes = result.get("scenes", ())
    names = list(result.get("files", ()))
    if len(scenes) == 1:
        names += [name for name in scenes[0]["files"] if name not in names]
    else:
        names += [f"scenes/{one['stem']}/{name}" for one in scenes for name in one["files"]]
    return {
        name: Reference(
            href=f"{own}/{quote(name)}", type=MEDIA_TYPES[name.rsplit("/", maxsplit=1)[-1]]
        )
        for name in names
    }
