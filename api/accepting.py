"""From a request to an accepted job: files in place, options checked, one row, one message."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from api.chip_limit import check_chips
from api.folders import JobFolder, Role
from api.form import ROLES, UPLOADS, read_options, read_uploads
from api.inputs import link_input
from api.inspection import inspect_upload
from api.multipart import Received
from api.names import clean_name
from api.problems import ServiceError
from api.schemas import SentFile
from api.service import Service
from api.store.jobs import NewJob
from api.store.tables import Job

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for an assessment, its files on disk.

    Attributes:
        job_id: Id of the job to be, which names its folder.
        owner: Who asks.
        received: Fields and files of its form.
        idempotency_key: The caller's name for the request, if any.
    """

    job_id: str
    owner: str
    received: Received
    idempotency_key: str | None = None


def new_job_id() -> str:
    """Return 128 random bits in hexadecimal."""
    return uuid4().hex


def accept(service: Service, asked: Asked) -> Job:
    """Check a request, keep it as a job and tell the workers; return the job.

    With an idempotency key that was used for the same request before, it is the job of then, and
    the files of this one are deleted. The caller deletes the folder if anything is raised.

    Raises:
        ServiceError: If there is no scene, a file is refused, a limit is reached, or the service
            is about to end.
        ConfigError: If an option is wrong.
    """
    service.inspecting.require_open()
    folder = service.folders.job(asked.job_id)
    fields = dict(asked.received.fields)
    uploads = read_uploads(fields.pop(UPLOADS, []))
    files = {role: list(sent) for role, sent in asked.received.files.items()}
    for role, sent in _announced(service, asked.owner, uploads).items():
        files.setdefault(role, []).extend(sent)
    inputs: dict[str, Any] = {
        role: [one.model_dump() for one in sent] for role, sent in files.items() if sent
    }
    request_sha256 = request_hash({"fields": fields, "inputs": inputs})
    known = service.jobs.by_request(asked.owner, asked.idempotency_key, request_sha256)
    if known is not None:
        folder.delete()
        return known
    _check_numbers(service, asked.owner, files)
    _link_uploads(service, asked.owner, uploads, folder)
    _inspect(service, folder)
    options = read_options(fields, folder, service.folders.models_of(asked.owner))
    check_chips(folder, options, service.settings)
    # The last moment at which an end of the service can be answered without a job being made.
    service.inspecting.require_open()
    job = service.jobs.create(
        NewJob(
            id=asked.job_id,
            process="assess",
            owner=asked.owner,
            options=options,
            inputs=inputs,
            idempotency_key=asked.idempotency_key,
            request_sha256=request_sha256,
        ),
        max_jobs=service.settings.max_jobs,
    )
    for upload_id in (one for ids in uploads.values() for one in ids):
        service.uploads.take(upload_id, job.id)
        service.folders.upload(upload_id).unlink(missing_ok=True)
    announce(service, job.id)
    return job


def request_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a request asks for, by which two of one name are compared."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def announce(service: Service, job_id: str) -> None:
    """Tell the workers of a job that is in the table."""
    try:
        service.queue.put(job_id)
    except ServiceError:
        # No harm: workers look for jobs that no message told of.
        logger.warning("job %s is kept, but the queue does not answer", job_id)


def delete_unless_kept(service: Service, job_id: str) -> None:
    """Delete the files of a request that was refused; those of a job that was made stay."""
    if service.jobs.is_kept(job_id):
        return
    service.folders.job(job_id).delete()


def require_turn(service: Service, owner: str) -> None:
    """Raise ServiceError 429 where a caller has as many jobs that wait or run as it may."""
    service.jobs.require_turn(owner, max_jobs=service.settings.max_jobs)


def _announced(
    service: Service, owner: str, uploads: dict[Role, list[str]]
) -> dict[Role, list[SentFile]]:
    """Return what was sent in parts, by role; raise ServiceError if one is not whole."""
    found: dict[Role, list[SentFile]] = {}
    for role, ids in uploads.items():
        rows = [service.uploads.get(upload_id, owner) for upload_id in ids]
        for row in rows:
            if row.sha256 is None:
                raise ServiceError(
                    409, f"upload {row.id} is not finished: send the rest, then POST .../finish"
                )
        found[role] = [
            SentFile(name=clean_name(row.name), bytes=row.bytes_total, sha256=row.sha256 or "")
            for row in rows
        ]
    return found


def _check_numbers(service: Service, owner: str, files: dict[Role, list[SentFile]]) -> None:
    settings = service.settings
    scenes = len(files.get("image", ()))
    if not scenes:
        raise ServiceError(422, "no scene was sent: send one or more files as `image`")
    if scenes > settings.max_scenes:
        raise ServiceError(
            413,
            f"{scenes} scenes were sent, and one assessment takes {settings.max_scenes} "
            "(max_scenes): send several requests",
        )
    require_turn(service, owner)


def _link_uploads(
    service: Service, owner: str, uploads: dict[Role, list[str]], folder: JobFolder
) -> None:
    """Put what was sent in parts among the inputs; until the job is kept, the upload stays too."""
    for role, ids in uploads.items():
        for upload_id in ids:
            row = service.uploads.get(upload_id, owner)
            if row.job is not None:
                raise ServiceError(
                    409, f"upload {row.id} became part of an assessment: send the file again"
                )
            link_input(folder, role, service.folders.upload(row.id), row.name)


def _inspect(service: Service, folder: JobFolder) -> None:
    for role in ROLES:
        for path in folder.files(role):
            inspect_upload(path, role, service.settings, service.inspecting.closing)
