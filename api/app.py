"""`create_app`: one independent application from settings; nothing is built at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from api.folders import ServiceFolders
from api.problems import handle_problems
from api.routes import page
from api.settings import ServiceSettings, read_service_settings
from api.store.database import Database
from damagenet import __version__

ROUTERS: tuple[APIRouter, ...] = (page.router,)
"""One line for each file in `routes/`, in the order of the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all requests to one application share; routes find it at `request.app.state.service`."""

    settings: ServiceSettings
    folders: ServiceFolders
    database: Database


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Return an application that serves one data folder.

    Args:
        settings: Settings; without them those of the environment.

    Raises:
        ConfigError: If settings are wrong, or the database does not answer.
    """
    settings = settings or read_service_settings()
    service = Service(
        settings=settings,
        folders=ServiceFolders(data_dir=settings.data_dir),
        database=Database(settings.database),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.database.close()

    app = FastAPI(title="damagenet", version=__version__, lifespan=lifespan)
    app.state.service = service
    handle_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    return app
