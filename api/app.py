"""`create_app`: one independent application from settings; nothing is built at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from api import tiler
from api.atlas import Atlas
from api.bodies import LimitedBodies
from api.explaining import Explaining
from api.folders import ServiceFolders
from api.guard import REFUSALS
from api.headers import SafeHeaders
from api.hosts import KnownHosts
from api.inspecting import Inspecting
from api.limits import Limiter
from api.logs import RequestLog
from api.methods import HeadAsGet
from api.metrics import Metrics
from api.predictions import Predictions
from api.problems import handle_problems
from api.queue import JobQueue
from api.routes import (
    again,
    assessments,
    chips,
    events,
    explanations,
    health,
    items,
    labels,
    models,
    ogc,
    page,
    predict,
    processes,
    results,
    session,
    tiles,
    totals,
    uploads,
)
from api.service import Service
from api.settings import ServiceSettings, read_service_settings
from api.store.database import Database
from api.store.jobs import JobStore
from api.store.keys import KeyStore
from api.store.uploads import UploadStore
from damagenet import __version__

ROUTERS: tuple[APIRouter, ...] = (
    assessments.router,
    uploads.router,
    events.router,
    results.router,
    tiles.router,
    tiler.router,
    items.router,
    chips.router,
    explanations.router,
    labels.router,
    again.router,
    totals.router,
    predict.router,
    models.router,
    ogc.router,
    processes.router,
)
"""One line for each file in `routes/` that asks who calls, in the order of the document."""
OPEN_ROUTERS: tuple[APIRouter, ...] = (session.router, health.router, page.router)
"""Those that answer anybody."""


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return an application that serves one data folder.

    What holds for a whole process is left to whoever starts it: `harden_gdal` and `set_up_logs`,
    as `serve` calls them.

    Args:
        settings: Settings; without them those of the environment.

    Raises:
        ConfigError: If settings are wrong, or the database or the queue does not answer.
    """
    settings = settings or read_service_settings()
    database = Database(settings.database)
    service = Service(
        settings=settings,
        folders=ServiceFolders.of(settings),
        database=database,
        jobs=JobStore(database),
        uploads=UploadStore(database),
        queue=JobQueue(settings.queue),
        atlas=Atlas(),
        keys=KeyStore(database),
        limits=Limiter(settings.requests_per_minute, settings.concurrent_requests),
        metrics=Metrics(database),
        predictions=Predictions(settings),
        explaining=Explaining(),
        inspecting=Inspecting(),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.predictions.close()
        service.queue.close()
        service.database.close()

    # FastAPI's own pages load their scripts from elsewhere; ours is at /docs.
    app = FastAPI(
        title="damagenet", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    app.state.closing = service.inspecting.closing
    handle_problems(app)
    _protect(app, service)
    for router in ROUTERS:
        app.include_router(router, responses=REFUSALS)
    for router in OPEN_ROUTERS:
        app.include_router(router)
    return app


def _protect(app: FastAPI, service: Service) -> None:
    """Put around an application what every request passes; the last one is the outermost."""
    if not service.settings.require_keys:
        app.add_middleware(KnownHosts, allowed=service.settings.allowed_hosts)
    app.add_middleware(HeadAsGet)
    app.add_middleware(LimitedBodies, max_upload_bytes=service.settings.max_upload_bytes)
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog, watch=service.metrics.count)
