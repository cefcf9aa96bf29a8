"""Ground that is hidden (clouds, smoke): polygons or a raster mask, asked chip by chip."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from geopandas import GeoSeries
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from damagenet.errors import FootprintError, SceneError
from data_prep.ground import to_crs, turned_to
from data_prep.north_up import needs_alpha
from data_prep.opening import gdal_session, open_raster
from data_prep.pixels import read_mask
from data_prep.scene import Scene
from data_prep.vectors import ground_crs, read_vectors

RASTER_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
POINTS_A_SIDE = 20
"""Of a rectangle that is laid into another CRS."""
Bounds = tuple[float, float, float, float]
CLEAR_BAND = "clear"
"""Description of the band of Planet's usable data mask (UDM2) that is 1 where the sky is clear."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exclusion:
    """Hidden ground, from one file."""

    path: Path
    areas: GeoSeries | None
    """Hidden polygons in their own CRS; None where the file is a raster mask."""
    warnings: tuple[str, ...] = ()

    def covers(self, scene: Scene, windows: Sequence[Window], size_px: int) -> np.ndarray:
        """Return where the ground of chips is hidden: bool (N, S, S).

        Args:
            scene: The scene the windows lie in.
            windows: N rectangles in its pixels.
            size_px: Side of a chip in pixels, S.

        Raises:
            FootprintError: If the file cannot be laid over the scene.
        """
        hidden = np.zeros((len(windows), size_px, size_px), bool)
        if self.areas is None:
            with _mask_errors():
                _burn_mask(self.path, scene, windows, hidden)
        else:
            _burn_areas(self._over(scene), scene, windows, hidden)
        return hidden

    def _over(self, scene: Scene) -> shapely.STRtree:
        if scene.crs is None:
            raise FootprintError(f"{scene.path} has no CRS, so {self.path} cannot be laid over it")
        return _areas_over(self, scene.crs.to_wkt(), scene.bounds)


def read_exclusion(path: Path) -> Exclusion:
    """Read hidden ground: polygons of any vector format, or a raster.

    In a raster every pixel that is not 0 is hidden; where a band is described as `clear`
    (Planet's UDM2), every pixel of it that is 0.

    Raises:
        FootprintError: If the file cannot be read or holds points.
    """
    if path.suffix.lower() in RASTER_SUFFIXES:
        _open(path).close()
        return Exclusion(path=path, areas=None)
    vectors = read_vectors(path)
    if vectors.geometry == "point":
        raise FootprintError(f"{path} holds points: hidden ground must be polygons or a raster")
    return Exclusion(path=path, areas=vectors.frame.geometry, warnings=vectors.warnings)


def _open(path: Path) -> DatasetReader:
    with _mask_errors():
        return open_raster(path)


@contextmanager
def _mask_errors() -> Iterator[None]:
    """Blame the mask, not the scene, for what is wrong with the mask."""
    try:
        yield
    except SceneError as err:
        raise FootprintError(f"--exclude: {err}") from err


@lru_cache(maxsize=8)
def _areas_over(exclusion: Exclusion, wkt: str, bounds: Bounds) -> shapely.STRtree:
    """Return the polygons around a scene in its CRS; they are asked for with every batch."""
    crs, areas = ground_crs(wkt), exclusion.areas
    if areas is None:
        return shapely.STRtree(())
    outline = _outline(bounds, crs).to_crs(areas.crs).total_bounds
    if np.isfinite(outline).all():
        areas = _around(areas, *outline)
    return shapely.STRtree(areas.to_crs(crs).to_numpy())


def _around(areas: GeoSeries, west: float, south: float, east: float, north: float) -> GeoSeries:
    """Cut polygons to the neighbourhood of a rectangle: no zone's CRS can hold half the world."""
    shapes = areas.to_numpy()
    if areas.crs.is_geographic:
        shapes = turned_to(shapes, (west + east) / 2)
    wide, high = east - west, north - south
    limits = west - wide, south - high, east + wide, north + high
    near = shapes[shapely.intersects(shapes, shapely.box(*limits))]
    return GeoSeries(shapely.clip_by_rect(near, *limits), crs=areas.crs)


def _outline(bounds: Bounds, crs: CRS) -> GeoSeries:
    """Return a rectangle whose sides may bend in another CRS."""
    step = max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / POINTS_A_SIDE
    return GeoSeries([shapely.segmentize(shapely.box(*bounds), step)], crs=crs)


def _burn_areas(
    tree: shapely.STRtree, scene: Scene, windows: Sequence[Window], hidden: np.ndarray
) -> None:
    size = hidden.shape[-1]
    for number, window in enumerate(windows):
        west, north = to_crs(scene.transform, window.col_off, window.row_off)
        across = scene.transform.a * window.width / size
        down = scene.transform.e * window.height / size
        found = tree.query(shapely.box(west, north + down * size, west + across * size, north))
        if len(found):
            grid = Affine(across, 0, west, 0, down, north)
            burned = rasterize(
                tree.geometries[found], out_shape=(size, size), transform=grid, dtype="uint8"
            )
            hidden[number] = burned.astype(bool)


def _burn_mask(path: Path, scene: Scene, windows: Sequence[Window], hidden: np.ndarray) -> None:
    size = hidden.shape[-1]
    with _open(path) as mask, gdal_session(path), _on_scene_grid(mask, scene) as view:
        names = [(text or "").strip().lower() for text in mask.descriptions]
        band = names.index(CLEAR_BAND) + 1 if CLEAR_BAND in names else 1
        # By its place, as such files may call 0 nodata, which is what is not clear.
        outline = _ground_of(mask, scene)
        for number, window in enumerate(windows):
            steps = (np.arange(size) + 0.5) / size
            cols = np.floor(window.col_off + steps * window.width).astype(int)
            rows = np.floor(window.row_off + steps * window.height).astype(int)
            cols_in, rows_in = _inside(cols, view.width), _inside(rows, view.height)
            if not (cols_in.any() and rows_in.any()):
                continue
            cols, rows = cols[cols_in], rows[rows_in]
            part = Window(cols[0], rows[0], cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1)
            value = view.read(band, window=part)
            if CLEAR_BAND in names:
                covered = (value == 0) & _burned(outline, scene, part)
            else:
                covered = (value != 0) & read_mask(view, band, part, value.shape)
            hidden[number][np.ix_(rows_in, cols_in)] = covered[
                np.ix_(rows - rows[0], cols - cols[0])
            ]


def _ground_of(mask: DatasetReader, scene: Scene) -> np.ndarray:
    """Return the outline of a mask in the scene's CRS, as an array of one polygon."""
    if scene.crs is None or mask.crs is None:
        return np.array([shapely.box(*scene.bounds)])
    corners = ((0, 0), (mask.width, 0), (mask.width, mask.height), (0, mask.height))
    own = shapely.Polygon([to_crs(mask.transform, *corner) for corner in corners])
    bent = shapely.segmentize(own, own.length / 4 / POINTS_A_SIDE)
    placed = GeoSeries([bent], crs=ground_crs(mask.crs.to_wkt()))
    return np.asarray(placed.to_crs(ground_crs(scene.crs.to_wkt())).to_numpy())


def _burned(shapes: np.ndarray, scene: Scene, part: Window) -> np.ndarray:
    """Return which of a scene's pixels lie in polygons of its CRS."""
    west, north = to_crs(scene.transform, part.col_off, part.row_off)
    grid = Affine(scene.transform.a, 0, west, 0, scene.transform.e, north)
    shape = (int(part.height), int(part.width))
    burned = rasterize(shapes, out_shape=shape, transform=grid, dtype="uint8")
    return np.asarray(burned, bool)


def _inside(places: np.ndarray, length: int) -> np.ndarray:
    inside: np.ndarray = (places >= 0) & (places < length)
    return inside


def _on_scene_grid(mask: DatasetReader, scene: Scene) -> WarpedVRT | DatasetReader:
    """Return a view of the mask on the scene's pixels."""
    if scene.crs is None or mask.crs is None:
        if (mask.width, mask.height) != (scene.width, scene.height):
            raise FootprintError(
                f"{mask.name} and {scene.path} share no CRS and differ in size: give both a CRS"
            )
        return mask
    ground_crs(mask.crs.to_wkt())
    return WarpedVRT(
        mask,
        crs=scene.crs,
        transform=scene.transform,
        width=scene.width,
        height=scene.height,
        resampling=Resampling.nearest,
        add_alpha=needs_alpha(mask),
    )
