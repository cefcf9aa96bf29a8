"""Totals of a finished assessment: how many units are damaged, area by area."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.following import finished
from api.guard import REFUSALS
from api.problems import ServiceError, problems
from api.routes import service_of
from api.routes.assessments import JobId, Reader, Writer
from api.totals import AssessmentTotals, count_totals, inspected_areas, place_for_areas
from api.upload_parts import append

router = APIRouter(prefix="/v1/assessments", tags=["totals"], responses=REFUSALS)

AREAS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/geo+json": {"schema": {"type": "object"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("/{job_id}/totals", summary="Total", responses=problems(404, 409, 422))
def get_totals(request: Request, caller: Reader, job_id: JobId) -> AssessmentTotals:
    """Count the damaged units of the whole run, with its labels and a 95 % interval."""
    service = service_of(request)
    job = finished(service, job_id, caller.owner)
    return count_totals(service.folders.job(job.id), job.id)


@router.post(
    "/{job_id}/totals",
    summary="Totals of areas",
    responses=problems(400, 404, 409, 413, 422, 503),
    openapi_extra=AREAS,
)
async def post_totals(
    request: Request,
    caller: Writer,
    job_id: JobId,
    *,
    name: Annotated[
        str, Query(max_length=1000, description="Name of the file, with its ending.")
    ] = "areas.geojson",
    area_id_field: Annotated[
        str | None, Query(max_length=200, description="Column with unique ids of the areas.")
    ] = None,
    share: Annotated[
        bool, Query(description="Let areas with few labels borrow from the whole run.")
    ] = False,
) -> AssessmentTotals:
    """Send polygons as the body, in a format of buildings; count the damaged units in each."""
    service = service_of(request)
    job = await run_in_threadpool(finished, service, job_id, caller.owner)
    folder, most = service.folders.job(job.id), service.settings.max_upload_bytes
    async with place_for_areas(service.folders, name) as path:
        await append(path, _parts(request), first=0, bytes_total=most)
        areas = await service.inspecting.run(
            lambda: inspected_areas(path, service.settings, service.inspecting.closing)
        )
        return await run_in_threadpool(
            count_totals, folder, job.id, areas, area_id_field=area_id_field, share=share
        )


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """Yield the body; raise ServiceError 400 where it breaks off."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as err:
        raise ServiceError(400, "the connection ended before the file did: send it again") from err
