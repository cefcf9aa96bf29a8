"""`create_app`: one independent application from settings; nothing is built at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from api.atlas import Atlas
from api.folders import ServiceFolders
from api.hardening import harden_gdal
from api.problems import handle_problems
from api.queue import JobQueue
from api.routes import (
    assessments,
    chips,
    events,
    items,
    ogc,
    page,
    processes,
    results,
    tiles,
    uploads,
)
from api.service import Service
from api.settings import ServiceSettings, read_service_settings
from api.store.database import Database
from api.store.jobs import JobStore
from api.store.uploads import UploadStore
from damagenet import __version__

ROUTERS: tuple[APIRouter, ...] = (
    assessments.router,
    uploads.router,
    events.router,
    results.router,
    page.router,
    tiles.router,
    items.router,
    chips.router,
    ogc.router,
    processes.router,
)
"""One line for each file in `routes/`, in the order of the document."""


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return an application that serves one data folder.

    Args:
        settings: Settings; without them those of the environment.

    Raises:
        ConfigError: If settings are wrong, or the database or the queue does not answer.
    """
    settings = settings or read_service_settings()
    harden_gdal()
    database = Database(settings.database)
    service = Service(
        settings=settings,
        folders=ServiceFolders.of(settings),
        database=database,
        jobs=JobStore(database),
        uploads=UploadStore(database),
        queue=JobQueue(settings.queue),
        atlas=Atlas(),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.queue.close()
        service.database.close()

    app = FastAPI(title="damagenet", version=__version__, lifespan=lifespan)
    app.state.service = service
    handle_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    return app
