"""Files in parts: announce one, send its parts, go on after a break, finish."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.callers import Caller
from api.names import clean_name
from api.problems import ServiceError, problems
from api.routes import service_of
from api.routes.assessments import Reader, Writer
from api.schemas import Answer
from api.store.tables import Upload
from api.upload_parts import append, finished_sha256, offset_of

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

UploadId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the upload.")]

Range = Annotated[
    str,
    Header(
        description="Which bytes are sent: `bytes FIRST-LAST/TOTAL`.",
        pattern=r"^bytes \d{1,15}-\d{1,15}/\d{1,15}$",
    ),
]


class NewUpload(Answer):
    """A file that is going to be sent in parts."""

    name: str = Field(min_length=1, max_length=1000, examples=["scene.tif"])
    bytes: int = Field(ge=1, examples=[104857600])
    """Size of the whole file."""


class FinishUpload(Answer):
    """What the sender knows of the whole file."""

    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    """Compared with what arrived."""


class UploadStatus(Answer):
    """How much of a file has arrived."""

    id: str
    name: str
    bytes: int
    offset: int
    """Place of the next byte to send."""
    complete: bool
    """Finished, and free to be used in an assessment."""
    sha256: str | None = None


@router.post("", status_code=201, summary="Announce a file", responses=problems(413, 422))
def create_upload(
    request: Request, response: Response, caller: Writer, new: NewUpload
) -> UploadStatus:
    """Announce a file by name and size; then PUT its bytes, in parts of any size, in order."""
    service = service_of(request)
    limit = service.settings.max_upload_bytes
    if new.bytes > limit:
        raise ServiceError(413, f"{new.bytes} bytes are more than the {limit} of max_upload_bytes")
    upload = service.uploads.create(caller.owner, clean_name(new.name), new.bytes)
    response.headers["Location"] = f"/v1/uploads/{upload.id}"
    return _status(request, upload)


@router.put(
    "/{upload_id}",
    summary="Send a part",
    responses=problems(400, 404, 409, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def put_part(
    request: Request, caller: Writer, upload_id: UploadId, content_range: Range
) -> UploadStatus:
    """Send the next bytes. After a break, ask for `offset` and go on from there."""
    upload = await run_in_threadpool(_open_upload, request, caller, upload_id)
    first, last, total = (int(number) for number in re.findall(r"\d+", content_range))
    if total != upload.bytes_total or not first <= last < total:
        raise ServiceError(
            422,
            f"Content-Range {content_range!r} does not fit a file of {upload.bytes_total} bytes",
        )
    path = service_of(request).folders.upload(upload_id)
    await append(path, _stream(request), first=first, bytes_total=last + 1)
    return await run_in_threadpool(_status, request, upload)


@router.get("/{upload_id}", summary="How much has arrived", responses=problems(404, 422))
def get_upload(request: Request, caller: Reader, upload_id: UploadId) -> UploadStatus:
    """Say from which byte to go on."""
    return _status(request, service_of(request).uploads.get(upload_id, caller.owner))


@router.post("/{upload_id}/finish", summary="Finish", responses=problems(404, 409, 422))
async def finish_upload(
    request: Request, caller: Writer, upload_id: UploadId, finish: FinishUpload | None = None
) -> UploadStatus:
    """Say that the file is whole; its hash is made, and compared with yours if you send one."""
    upload = await run_in_threadpool(_open_upload, request, caller, upload_id)
    service = service_of(request)
    sha256 = await finished_sha256(service.folders.upload(upload_id), upload.bytes_total)
    if finish is not None and finish.sha256 and finish.sha256.lower() != sha256:
        raise ServiceError(
            422,
            f"SHA-256 of what arrived is {sha256}, not {finish.sha256}: delete the upload and "
            "send the file again",
        )
    await run_in_threadpool(service.uploads.finish, upload_id, sha256)
    return await run_in_threadpool(get_upload, request, caller, upload_id)


@router.delete("/{upload_id}", status_code=204, summary="Delete", responses=problems(404, 422))
def delete_upload(request: Request, caller: Writer, upload_id: UploadId) -> None:
    """Delete a file; assessments that were made of it keep theirs."""
    service = service_of(request)
    service.uploads.get(upload_id, caller.owner)
    service.uploads.remove(upload_id)
    service.folders.upload(upload_id).unlink(missing_ok=True)


def _open_upload(request: Request, caller: Caller, upload_id: str) -> Upload:
    """Return an upload that bytes may still be sent to; raise ServiceError 404 or 409."""
    upload = service_of(request).uploads.get(upload_id, caller.owner)
    if upload.job is not None or upload.sha256 is not None:
        raise ServiceError(409, "this upload is finished: announce another one")
    return upload


def _status(request: Request, upload: Upload) -> UploadStatus:
    path = service_of(request).folders.upload(upload.id)
    finished = upload.sha256 is not None
    return UploadStatus(
        id=upload.id,
        name=upload.name,
        bytes=upload.bytes_total,
        offset=upload.bytes_total if finished else offset_of(path),
        complete=finished and upload.job is None,
        sha256=upload.sha256,
    )


async def _stream(request: Request) -> AsyncIterator[bytes]:
    """Yield the body; a break ends it, and what arrived stays."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        return
