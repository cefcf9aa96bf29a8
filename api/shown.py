"""Whose job, and is its map there: what all addresses of maps and items ask first."""

from typing import Annotated

from fastapi import Depends, Path, Request

from api.atlas import ShownMap
from api.callers import Caller
from api.folders import ID
from api.guard import caller
from api.problems import ServiceError, not_found
from api.routes import service_of
from api.store.tables import FAILED, SUCCESSFUL, WAITING, Job

JobId = Annotated[str, Path(pattern=f"^{ID.pattern}$", description="Id of the assessment.")]
Reader = Annotated[Caller, Depends(caller("read"))]

COLLECTIONS = "/collections/"
"""How addresses of collections begin: these are finished assessments only."""


def found_job(request: Request, job_id: JobId, reader: Reader) -> Job:
    """Return a job of the caller; raise ServiceError 404 for any other."""
    return service_of(request).jobs.get(job_id, reader.owner)


def shown_map(request: Request, job: Annotated[Job, Depends(found_job)]) -> ShownMap:
    """Return the map of a job of the caller.

    Raises:
        ServiceError: 404 if there is none, 409 while it is not finished; as a collection it is not
            there until then.
    """
    service = service_of(request)
    if job.status in WAITING and not request.scope["route"].path.startswith(COLLECTIONS):
        raise ServiceError(409, "this assessment is not finished: its map comes with the results")
    shown = service.atlas.find(service.folders.job(job.id)) if job.status == SUCCESSFUL else None
    if shown is None:
        what = "map of this assessment, which failed" if job.status == FAILED else "map of this job"
        raise not_found(what)
    return shown


FoundJob = Annotated[Job, Depends(found_job)]
Shown = Annotated[ShownMap, Depends(shown_map)]
