"""Files of results: whole or in ranges, with a tag that changes when they do."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from api.callers import Caller
from api.problems import ServiceError, not_found, problems
from api.result_files import MEDIA_TYPES, file_response
from api.routes import service_of
from api.routes.assessments import JobId, Reader
from api.schemas import Answer, Link
from api.store.tables import SUCCESSFUL, Job

router = APIRouter(prefix="/v1/assessments", tags=["results"])

FileName = Annotated[
    str,
    Path(
        description=f"One of {', '.join(MEDIA_TYPES)}.",
        json_schema_extra={"enum": list(MEDIA_TYPES)},
    ),
]
Stem = Annotated[str, Path(description="`stem` of a scene in the job's result.")]

FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {kind: {} for kind in dict.fromkeys(MEDIA_TYPES.values())},
    },
    206: {"description": "The range that was asked for."},
    304: {"description": "Not changed since `If-None-Match`."},
}


class ResultLinks(Answer):
    """All files of one assessment."""

    links: list[Link]


@router.get(
    "/{job_id}/results", summary="Files of an assessment", responses=problems(404, 409, 422)
)
def list_results(request: Request, caller: Reader, job_id: JobId) -> ResultLinks:
    """List the files of an assessment that was successful."""
    job = _finished(request, caller, job_id)
    result = job.result or {}
    own = f"/v1/assessments/{job.id}/results"
    found = [_link(own, name) for name in result.get("files", ())]
    for scene in result.get("scenes", ()):
        found += [
            _link(f"{own}/scenes/{scene['stem']}", name, scene["name"]) for name in scene["files"]
        ]
    return ResultLinks(links=found)


@router.head("/{job_id}/results/{name}", include_in_schema=False)
@router.get(
    "/{job_id}/results/{name}",
    summary="A file of the whole run",
    response_class=Response,
    responses=FILE | problems(404, 409, 416, 422),
)
def get_result(request: Request, caller: Reader, job_id: JobId, name: FileName) -> Response:
    """Return one file over all scenes; where there is one scene, also what only scenes have."""
    job = _finished(request, caller, job_id)
    result, folder = job.result or {}, service_of(request).folders.job(job_id)
    if name in result.get("files", ()):
        return file_response(request, folder, folder.results / name)
    scenes = result.get("scenes", ())
    if len(scenes) == 1 and name in scenes[0]["files"]:
        return file_response(request, folder, folder.results / scenes[0]["stem"] / name)
    raise not_found(f"file {name[:80]!r}")


@router.head("/{job_id}/results/scenes/{stem}/{name}", include_in_schema=False)
@router.get(
    "/{job_id}/results/scenes/{stem}/{name}",
    summary="A file of one scene",
    response_class=Response,
    responses=FILE | problems(404, 409, 416, 422),
)
def get_scene_result(
    request: Request, caller: Reader, job_id: JobId, stem: Stem, name: FileName
) -> Response:
    """Return one file of one scene."""
    job = _finished(request, caller, job_id)
    folder = service_of(request).folders.job(job_id)
    for scene in (job.result or {}).get("scenes", ()):
        if scene["stem"] == stem and name in scene["files"]:
            return file_response(request, folder, folder.results / stem / name)
    raise not_found(f"file {name[:80]!r} of a scene {stem[:80]!r}")


def _finished(request: Request, caller: Caller, job_id: str) -> Job:
    """Return a successful job; raise ServiceError 404 or 409."""
    job = service_of(request).jobs.get(job_id, caller.owner)
    if job.status != SUCCESSFUL:
        raise ServiceError(409, f"this assessment is {job.status}: results come when it is done")
    return job


def _link(folder: str, name: str, scene: str | None = None) -> Link:
    title = name if scene is None else f"{name} of {scene}"
    return Link(href=f"{folder}/{name}", rel="item", type=MEDIA_TYPES.get(name), title=title)
