"""`Service`: what all requests to one application share."""

from dataclasses import dataclass

from fastapi import Request

from api.atlas import Atlas
from api.explaining import Explaining
from api.folders import ServiceFolders
from api.inspecting import Inspecting
from api.limits import Limiter
from api.metrics import Metrics
from api.predictions import Predictions
from api.queue import JobQueue
from api.settings import ServiceSettings
from api.store.database import Database
from api.store.jobs import JobStore
from api.store.keys import KeyStore
from api.store.uploads import UploadStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all requests to one application share; routes find it with `service_of`."""

    settings: ServiceSettings
    folders: ServiceFolders
    database: Database
    jobs: JobStore
    uploads: UploadStore
    queue: JobQueue
    atlas: Atlas
    keys: KeyStore
    limits: Limiter
    metrics: Metrics
    predictions: Predictions
    explaining: Explaining
    inspecting: Inspecting


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service
