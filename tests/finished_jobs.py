"""Finished jobs of a service, made by the real engine from tiny scenes, without a worker."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from affine import Affine
from fastapi import FastAPI
from rasters import write_raster
from tiny_run import EAST, NORTH, UTM, make_bundle

from api.assess_result import assess_result
from api.folders import JobFolder
from api.maps import make_map_images
from api.service import Service
from api.store.database import now
from api.store.jobs import NewJob
from api.store.tables import SUCCESSFUL, Job
from damagenet.bundle import load_bundle
from damagenet.engine.batch import assess_scenes
from damagenet.options import FORMATS, AssessOptions

RED, BLUE, GREEN = (200, 60, 60), (60, 60, 200), (60, 160, 60)


def flat_scene(
    path: Path,
    colour: Sequence[int],
    *,
    east: float = EAST,
    north: float = NORTH,
    size_px: tuple[int, int] = (96, 128),
    hole: tuple[slice, slice] | None = None,
    **profile: Any,
) -> Path:
    """Write a scene of 1 m pixels in one colour; a hole holds no data.

    Args:
        size_px: Height and width.
    """
    pixels = np.empty((3, *size_px), np.uint8)
    pixels[:] = np.array(colour)[:, None, None]
    if hole is not None:
        pixels[:, *hole] = 0
        profile["nodata"] = 0
    place = {"transform": Affine(1, 0, east, 0, -1, north), "crs": UTM, "photometric": "RGB"}
    return write_raster(path, pixels, **(place | profile))


def assessed(
    root: Path, bundle: Path, scenes: Sequence[Path], **options: Any
) -> tuple[JobFolder, dict[str, Any]]:
    """Assess scenes into a job's folder, make its maps, and return it with the job's result."""
    folder = JobFolder(root=root)
    asked = AssessOptions(model=str(bundle), format=FORMATS, device="cpu", **options)
    run = assess_scenes(scenes, folder.results, asked)
    make_map_images(folder)
    return folder, assess_result(run, folder, load_bundle(str(bundle)).card)


def add_job(service: Service, make: Callable[[Path], dict[str, Any]], owner: str = "local") -> str:
    """Let `make` fill a job's folder and keep the job as successful; return its id."""
    new = NewJob(process="assess", owner=owner, options={}, inputs={})
    result = make(service.folders.job(new.id).root)
    service.jobs.create(new)
    set_job(service, new.id, status=SUCCESSFUL, result=result, finished=now())
    return new.id


def set_job(service: Service, job_id: str, **values: Any) -> None:
    """Change a job's row."""
    with service.database.transaction() as session:
        job = session.get(Job, job_id)
        for name, value in values.items():
            setattr(job, name, value)


def tiny_bundle(folder: Path, **fields: Any) -> Path:
    """Write a bundle for 32 m chips and return its folder."""
    make_bundle(folder, **fields)
    return folder


@contextmanager
def served_on(app: FastAPI) -> Iterator[str]:
    """Serve an application on a port of its own and yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
