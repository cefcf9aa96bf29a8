"""How many chips an assessment would ask a network for, told from headers before it is accepted."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

from api.folders import JobFolder
from api.problems import ServiceError
from api.settings import ServiceSettings
from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.north_up import north_up
from data_prep.opening import gdal_session, open_raster

MOST_STEPS = 10**9
"""Cells of a row or column that are told apart; a division may also come out as infinite."""


def check_chips(folder: JobFolder, options: Mapping[str, Any], settings: ServiceSettings) -> None:
    """Refuse an assessment whose scenes would be cut into more cells than the service takes.

    With buildings it is their number that counts, which was limited when their file was inspected.

    Args:
        folder: The job's folder, with the files that were sent.
        options: Options that the caller gave, by their names in `AssessOptions`.
        settings: Limits of the service.

    Raises:
        ServiceError: 413.
    """
    if folder.files("buildings"):
        return
    stride, pixel_size = options.get("stride"), options.get("pixel_size")
    cells = sum(_cells(path, stride, pixel_size) for path in folder.files("image"))
    if cells > settings.max_chips:
        raise ServiceError(
            413,
            f"the scenes would be cut into {cells:,} cells, more than {settings.max_chips:,} "
            "(max_chips): raise the stride, or send fewer scenes",
        )


def _cells(path: Path, stride: float | None, pixel_size: float | None) -> int:
    """Return the cells of one scene; 0 where it cannot be assessed, which the job will tell."""
    ground = ChipGround()
    try:
        with open_raster(path) as dataset, gdal_session(path, strict=False):
            grid = north_up(dataset, ground)
            across_m, down_m = grid.native_m or (pixel_size or 0.0, pixel_size or 0.0)
            width_m, height_m = dataset.width * across_m, dataset.height * down_m
    except SceneError:
        return 0
    columns = _steps(float(width_m), stride or ground.width_m)
    rows = _steps(float(height_m), stride or ground.height_m)
    return columns * rows


def _steps(length_m: float, step_m: float) -> int:
    """Return how many steps cover a length; `MOST_STEPS` for all numbers beyond."""
    steps = length_m / step_m
    return ceil(steps) if steps < MOST_STEPS else MOST_STEPS
