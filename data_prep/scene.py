"""A scene: any raster that may be opened, as a north-up grid of uint8 RGB with a valid mask."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.windows import Window

from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.acquired import acquisition_time
from data_prep.bands import choose_bands
from data_prep.chips import Chips, RawChips
from data_prep.ground import pixel_metres, to_crs
from data_prep.north_up import NorthUp, PixelGrid, north_up
from data_prep.opening import gdal_session, open_raster
from data_prep.pixels import PixelSource, is_silent
from data_prep.reading_order import ReadingOrder, is_row_wise
from data_prep.reads import Box, footprint, read_windows
from data_prep.scene_warnings import scene_warnings
from data_prep.stored import StoredBlocks, stored_blocks
from data_prep.survey import decimated, decimated_size, scene_scale, valid_share

COARSE_M = 3.0
"""Ground sampling above which a scene is not assessed unless forced (with 1 % to spare)."""
FINE_M = 0.01
"""Ground sampling below which it is not: one chip would be more pixels than fit the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """How a scene is opened."""

    bands: tuple[int, ...] | None = None
    """Red, green, blue, counted from 1; None takes those tagged so, else the first three."""
    pixel_size: float | None = None
    """Ground sampling in metres, for a scene without CRS."""
    allow_driver: tuple[str, ...] = ()
    """GDAL drivers to open beside GeoTIFF, PNG and JPEG, by name."""
    allow_url: tuple[str, ...] = ()
    """Addresses that scenes may be read from, and what lies below them."""
    force_coarse: bool = False
    """Open scenes coarser than `COARSE_M` too."""
    chip: ChipGround = field(default_factory=ChipGround)
    """Sets the pixel on which a rotated scene is laid out."""


class Scene:
    """An open scene, for one thread; a context manager."""

    def __init__(
        self,
        path: Path,
        file: DatasetReader,
        grid: NorthUp,
        source: PixelSource,
        options: SceneOptions,
    ) -> None:
        self.path = path
        self.width: int = grid.dataset.width
        self.height: int = grid.dataset.height
        self.transform: Affine = grid.transform
        self.crs: CRS | None = grid.crs
        self.bands = source.choice.indexes
        self.acquired = acquisition_time(file)
        self.pixel_m = _grid_metres(path, grid, options)
        self.sampling_m = max(grid.native_m or self.pixel_m)
        """Metres per pixel of the file itself, the coarser of its two axes."""
        self.depth_rule = source.scale.rule if source.scale else ""
        """How deeper pixels were brought to 8 bits; empty where they were 8-bit."""
        self.warnings = scene_warnings(file, grid, source, self.sampling_m)
        self._file, self._grid, self._source = file, grid, source
        self._lonlat: Transformer | None = grid.lonlat

    @classmethod
    def open(
        cls, path: Path, options: SceneOptions | None = None, *, onto: PixelGrid | None = None
    ) -> "Scene":
        """Open a scene for reading.

        Args:
            path: The file.
            options: How it is opened.
            onto: The grid of another scene: this one is then in its CRS, and on its very grid
                unless it is north-up there by itself.

        Raises:
            SceneError: If the file is not a raster that may be opened, is damaged, has too few
                bands, has neither CRS nor a given pixel size, lies on another planet, is coarser
                than `COARSE_M` unless that is forced, or finer than `FINE_M`.
        """
        options = options or SceneOptions()
        file = open_raster(path, options.allow_driver, options.allow_url)
        try:
            with gdal_session(path):
                choice = choose_bands(file, options.bands)
                grid = north_up(file, options.chip, onto)
                silent = is_silent(file, choice)
                stored, seen = (
                    PixelSource(dataset=dataset, choice=choice, black_is_nothing=silent)
                    for dataset in (file, grid.dataset)
                )
                source = replace(seen, scale=scene_scale(stored, seen))
                scene = cls(path, file, grid, source, options)
            if scene.coarse and not options.force_coarse:
                raise SceneError(too_coarse(scene))
            if min(scene.pixel_m) < 0.99 * FINE_M:
                raise SceneError(_too_fine(scene))
        except BaseException:
            file.close()
            raise
        return scene

    def __enter__(self) -> "Scene":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the scene cannot be read any more."""
        if self._grid.dataset is not self._file:
            self._grid.dataset.close()
        self._file.close()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the scene's CRS."""
        west, north = to_crs(self.transform, 0, 0)
        east, south = to_crs(self.transform, self.width, self.height)
        return west, south, east, north

    @property
    def coarse(self) -> bool:
        """True where the scene is too coarse to be assessed unless forced."""
        return self.sampling_m > 1.01 * COARSE_M

    def lonlat(self, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes and latitudes (degrees, WGS 84) of pixel coordinates; NaN without CRS.

        Args:
            cols: Columns; the first pixel reaches from 0 to 1.
            rows: Rows, likewise.
        """
        cols, rows = np.asarray(cols, float), np.asarray(rows, float)
        if self._lonlat is None:
            return np.full(cols.shape, np.nan), np.full(rows.shape, np.nan)
        lons, lats = self._lonlat.transform(
            self.transform.a * cols + self.transform.c, self.transform.e * rows + self.transform.f
        )
        # A grid may go on beyond the date line, or count from 0 to 360.
        return np.where(np.abs(lons) > 180, (lons + 180) % 360 - 180, lons), np.asarray(lats)

    def read_chips(self, windows: Sequence[Window], *, size_px: int) -> Chips:
        """Read windows as uint8 RGB chips; what lies outside is zero and not valid.

        Windows of whole pixels and `size_px` on each side are copied; others are resampled once,
        anti-aliased. Neighbouring windows share one read.

        Args:
            windows: N rectangles in pixels of this grid.
            size_px: Side of a chip in pixels, S.

        Raises:
            SceneError: If the file turns out to be damaged there.
        """
        return self.read_raw(windows, size_px=size_px).cut()

    def read_raw(self, windows: Sequence[Window], *, size_px: int) -> RawChips:
        """Read the pixels that chips are cut out of in another thread; else as `read_chips`."""
        with gdal_session(self.path):
            reads = read_windows(
                self._source,
                windows,
                size_px=size_px,
                raster=self._raster,
                row_wise=self.row_wise,
                stored=self._stored,
            )
        return RawChips(windows=windows, reads=reads, size_px=size_px, raster=self._raster)

    def surely_empty(self, first: Window, last: Window, *, size_px: int) -> bool:
        """Return whether the file stores nothing in all chips from one window to another.

        No pixel is read for it; False where the file does not say.

        Args:
            first: The north-western window of a block of them.
            last: The south-eastern one.
            size_px: Side of a chip in pixels.
        """
        around = footprint(first, size_px).union(footprint(last, size_px))
        stored, inside = self._stored, around.intersection(self._raster)
        return stored is not None and not stored.any_in(inside.window())

    @cached_property
    def _stored(self) -> StoredBlocks | None:
        with gdal_session(self.path):
            return stored_blocks(self._grid.dataset, self._source.choice)

    @property
    def _raster(self) -> Box:
        return Box(0, 0, self.width, self.height)

    @property
    def row_wise(self) -> bool:
        """True where the file is decoded in whole rows, from top to bottom."""
        return is_row_wise(self._grid.dataset)

    @property
    def reading_order(self) -> ReadingOrder:
        """In what order windows are read so that each block is decoded once."""
        return ReadingOrder.of(self._grid.dataset)

    def valid_share(self) -> float:
        """Return the share of pixels with a picture, 0..1, from a decimated scene or a sample.

        Raises:
            SceneError: If the file turns out to be damaged.
        """
        with gdal_session(self.path):
            return valid_share(self._source)

    def picture(self, max_side_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the whole scene decimated: uint8 RGB (3, h, w) and its valid mask (h, w).

        Args:
            max_side_px: The longer side in pixels, at most.

        Raises:
            SceneError: If the file turns out to be damaged.
        """
        with gdal_session(self.path):
            return decimated(self._source, max_side_px)

    def picture_size(self, max_side_px: int) -> tuple[int, int]:
        """Return height and width in pixels of the scene's picture, without reading it."""
        return decimated_size(self._source, max_side_px)


def _grid_metres(path: Path, grid: NorthUp, options: SceneOptions) -> tuple[float, float]:
    """Return the metres per pixel of the north-up grid, east-west and north-south."""
    if grid.lonlat is not None:
        return pixel_metres(
            grid.transform, grid.dataset.width / 2, grid.dataset.height / 2, grid.lonlat
        )
    if options.pixel_size is None:
        raise SceneError(
            f"{path} has no CRS and so no ground sampling: pass --pixel-size with the metres per "
            "pixel, or give the file a CRS"
        )
    return options.pixel_size, options.pixel_size


def nothing_valid(path: Path) -> str:
    """Return the sentence that refuses a scene without a picture."""
    return (
        f"{path} holds no valid pixel, all is nodata or masked: check its nodata value, "
        "mask or alpha band, or take another scene"
    )


def _metres(length_m: float) -> str:
    return f"{length_m:,.0f}" if length_m >= 100 else f"{length_m:.3g}"


def _too_fine(scene: Scene) -> str:
    return (
        f"{scene.path} has pixels of {_metres(min(scene.pixel_m))} m, which no camera sees (limit "
        f"{FINE_M:g} m): check its CRS and position or --pixel-size, or resample it"
    )


def too_coarse(scene: Scene) -> str:
    """Return the sentence that refuses a coarse scene."""
    return (
        f"{scene.path} has pixels of {_metres(scene.sampling_m)} m, too coarse to see a building "
        f"(limit {COARSE_M:g} m): take a finer scene, or pass --force-coarse"
    )
