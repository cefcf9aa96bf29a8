"""The pre-flight report: what a scene is, whether it can be assessed, and what that would take."""

import warnings
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
from pyproj import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from damagenet.addresses import RemotePath, without_queries
from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.clouds import seen_ground
from data_prep.opening import GDAL_ERRORS, gdal_session, open_raster
from data_prep.remote import gdal_name
from data_prep.scene import Scene, SceneOptions, nothing_valid, too_coarse
from data_prep.survey import WHOLE_READ_PX
from data_prep.windows import Grid

SAMPLE_CELLS = 12
"""Cells each way, of one chip each, that are looked at for hidden ground."""
CHIPS_PER_S = 1000.0
"""Chips judged per second that the estimate of time assumes: two idle CPU cores and the shipped
network did 1,080 to 1,200, files included (`benchmarks/throughput.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What `damagenet inspect` tells; None and 0 where the file did not get that far."""

    path: Path
    problem: str | None = None
    """Why the scene cannot be assessed, in one sentence; None where it can."""
    warnings: tuple[str, ...] = ()
    format: str = ""
    """GDAL driver."""
    file_mb: float = 0.0
    width: int = 0
    """Columns of the north-up grid."""
    height: int = 0
    crs: str = ""
    """Authority code, else name; empty without a CRS."""
    pixel_m: tuple[float, float] | None = None
    """Metres per pixel, east-west and north-south."""
    training_m: tuple[float, float] | None = None
    """Metres per pixel of the training tiles."""
    resampled: bool = False
    """True where chips are resampled onto the training pixel."""
    band_count: int = 0
    bands: tuple[int, ...] = ()
    """Read as red, green, blue."""
    dtype: str = ""
    depth_rule: str = ""
    """How deeper pixels are brought to 8 bits; empty where they are 8-bit."""
    nodata_share: float | None = None
    """Share of pixels without a picture, 0..1; sampled in large scenes."""
    hidden_share: float | None = None
    """Share of the picture that cloud, thick haze or too much light hides, 0..1; from a sample."""
    acquired: str = ""
    """ISO 8601; empty where the file does not say."""
    cog: bool = False
    """True for a valid Cloud Optimized GeoTIFF."""
    cog_faults: tuple[str, ...] = ()
    overviews: tuple[int, ...] = ()
    rows: int = 0
    """Rows of the grid of cells of one chip each."""
    columns: int = 0
    chips: int = 0
    """Chips with imagery that the grid would have, about."""
    read_mb: float = 0.0
    """Decoded pixels to read for the whole grid, in MB."""
    seconds: float = 0.0
    """Estimated time of an assessment by grid."""
    chips_per_s: float = CHIPS_PER_S
    """The rate that the estimate assumes."""


def inspect_scene(path: Path, options: SceneOptions, ground: ChipGround) -> Preflight:
    """Look at a scene without assessing it; a scene that cannot be assessed has a `problem`.

    Args:
        path: The raster.
        options: How it would be opened.
        ground: The ground of one chip, which says what the training pixel is.
    """
    report = Preflight(path=path)
    try:
        with open_raster(path, options.allow_driver, options.allow_url) as dataset:
            report = _describe_file(report, dataset)
        # A scene that is too coarse is described too, so its refusal is put off.
        with Scene.open(path, replace(options, force_coarse=True, chip=ground)) as scene:
            return _describe_scene(report, scene, options, ground)
    except SceneError as err:
        return replace(report, problem=str(err))


def _describe_file(report: Preflight, dataset: DatasetReader) -> Preflight:
    path = report.path
    with gdal_session(path, strict=False):
        cog, faults = _cog(path) if dataset.driver == "GTiff" else (False, ())
        return replace(
            report,
            format=dataset.driver,
            file_mb=path.stat().st_size / 1e6 if path.is_file() else 0.0,
            width=dataset.width,
            height=dataset.height,
            band_count=dataset.count,
            dtype=str(dataset.dtypes[0]),
            cog=cog,
            cog_faults=faults,
            overviews=tuple(dataset.overviews(1)),
        )


def _describe_scene(
    report: Preflight, scene: Scene, options: SceneOptions, ground: ChipGround
) -> Preflight:
    refused = scene.coarse and not options.force_coarse
    try:
        grid = Grid.over(scene, ground)
    except SceneError as err:
        if not refused:
            raise
        # Too many cells is only what comes of too coarse pixels.
        raise SceneError(too_coarse(scene)) from err
    filled = scene.valid_share()
    chips = ceil(grid.count * filled)
    seen = ("", "") if filled else _seen_nothing(scene)
    problem = too_coarse(scene) if refused else seen[0]
    return replace(
        report,
        problem=problem or None,
        warnings=scene.warnings + ((seen[1],) if seen[1] else ()),
        width=scene.width,
        height=scene.height,
        crs=_crs_name(scene),
        pixel_m=scene.pixel_m,
        training_m=(ground.width_m / ground.size_px, ground.height_m / ground.size_px),
        resampled=not grid.chip.whole,
        bands=scene.bands,
        depth_rule=scene.depth_rule,
        nodata_share=1 - filled,
        hidden_share=_hidden_share(scene, grid, ground.size_px) if filled else None,
        acquired=scene.acquired,
        rows=grid.rows,
        columns=grid.columns,
        chips=chips,
        read_mb=scene.width * scene.height * 3 * np.dtype(report.dtype).itemsize / 1e6,
        seconds=chips / CHIPS_PER_S,
    )


def _hidden_share(scene: Scene, grid: Grid, size_px: int) -> float | None:
    """Return the share of the picture that is hidden, from cells all over it; None without any."""
    windows = [
        grid.chip.around((column + 0.5) * grid.cell_width_px, (row + 0.5) * grid.cell_height_px)
        for row in _spread(grid.rows)
        for column in _spread(grid.columns)
    ]
    chips = scene.read_chips(windows, size_px=size_px)
    shown = int(chips.valid.sum())
    seen = int(seen_ground(chips.images[0], chips.valid).sum())
    return 1 - seen / shown if shown else None


def _spread(cells: int) -> list[int]:
    """Return at most `SAMPLE_CELLS` numbers of cells, evenly from the first to the last."""
    return sorted(set(np.linspace(0, cells - 1, SAMPLE_CELLS).round().astype(int).tolist()))


def _seen_nothing(scene: Scene) -> tuple[str, str]:
    """Return what to say of a scene without a valid pixel: a problem, or else a warning.

    A large scene may hold a picture that a sample of it misses.
    """
    if scene.width * scene.height <= WHOLE_READ_PX:
        return nothing_valid(scene.path), ""
    return "", "no valid pixel was seen in a sample of the scene: it may be empty"


def _crs_name(scene: Scene) -> str:
    if scene.crs is None:
        return ""
    authority = scene.crs.to_authority()
    return ":".join(authority) if authority else str(CRS.from_wkt(scene.crs.to_wkt()).name)


def _cog(path: Path) -> tuple[bool, tuple[str, ...]]:
    """Return whether a TIFF is a valid COG, and if not, why."""
    from rio_cogeo.cogeo import cog_validate

    name = gdal_name(path) if isinstance(path, RemotePath) else str(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            valid, errors, _ = cog_validate(name, quiet=True)
    except (*GDAL_ERRORS, ValueError) as err:
        return False, (without_queries(str(err)),)
    return bool(valid), tuple(str(fault) for fault in errors)
