"""Server-sent events: a job's status as it changes."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.guard import still_allowed
from api.problems import ServiceError, problems
from api.routes import service_of
from api.routes.assessments import JobId, Reader
from api.schemas import JobStatus
from api.service import Service
from api.statuses import job_status
from api.store.tables import WAITING

router = APIRouter(prefix="/v1/assessments", tags=["assessments"])

LOOK_S = 0.5
"""How often the jobs table is asked."""
SILENCE_S = 15.0
"""After so long without a change a comment is sent, so that proxies keep the line open."""

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events called `status`, each with a JobStatus; the last one is final.",
        "content": {"text/event-stream": {}},
    }
}


@router.get(
    "/{job_id}/events",
    summary="Follow an assessment",
    response_class=StreamingResponse,
    responses=STREAM | problems(404, 422),
)
async def follow_assessment(request: Request, caller: Reader, job_id: JobId) -> StreamingResponse:
    """Send the status now and whenever it changes, until the job has ended.

    Where the service itself or your key ends before, the stream ends too: ask again.
    """
    service = service_of(request)
    first = await run_in_threadpool(_status, service, job_id, caller.owner)
    return StreamingResponse(
        _events(request, first, caller.owner),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _status(service: Service, job_id: str, owner: str) -> JobStatus:
    return job_status(service.jobs.get(job_id, owner))


async def _events(request: Request, status: JobStatus, owner: str) -> AsyncIterator[str]:
    yield _event(status)
    service, said = service_of(request), time.monotonic()
    while status.status in WAITING and not service.inspecting.closing.is_set():
        await asyncio.sleep(LOOK_S)
        try:
            if not await still_allowed(request):
                return
            found = await run_in_threadpool(_status, service, status.jobID, owner)
        except (ServiceError, SQLAlchemyError):
            # Deleted while somebody looked on, or nobody can tell: the caller may ask again.
            return
        if found != status:
            status, said = found, time.monotonic()
            yield _event(status)
        elif time.monotonic() - said > SILENCE_S:
            said = time.monotonic()
            yield ": nothing new\n\n"


def _event(status: JobStatus) -> str:
    return f"event: status\ndata: {status.model_dump_json()}\n\n"
