"""Ground that is hidden (clouds, smoke): polygons or a raster mask, asked chip by chip."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from geopandas import GeoSeries
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from damagenet.errors import FootprintError, SceneError
from data_prep.ground import to_crs
from data_prep.north_up import needs_alpha
from data_prep.opening import gdal_session, open_raster
from data_prep.pixels import read_mask
from data_prep.scene import Scene
from data_prep.vectors import ground_crs, read_vectors

RASTER_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
CLEAR_BAND = "clear"
"""Description of the band of Planet's usable data mask (UDM2) that is 1 where the sky is clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
            _burn_areas(self.path, self.areas, scene, windows, hidden)
        return hidden


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


def _burn_areas(
    path: Path, areas: GeoSeries, scene: Scene, windows: Sequence[Window], hidden: np.ndarray
) -> None:
    if scene.crs is None:
        raise FootprintError(f"{scene.path} has no CRS, so {path} cannot be laid over it")
    shapes = areas.to_crs(ground_crs(scene.crs.to_wkt())).to_numpy()
    tree = shapely.STRtree(shapes)
    size = hidden.shape[-1]
    for number, window in enumerate(windows):
        west, north = to_crs(scene.transform, window.col_off, window.row_off)
        across = scene.transform.a * window.width / size
        down = scene.transform.e * window.height / size
        found = tree.query(shapely.box(west, north + down * size, west + across * size, north))
        if len(found):
            grid = Affine(across, 0, west, 0, down, north)
            burned = rasterize(shapes[found], out_shape=(size, size), transform=grid, dtype="uint8")
            hidden[number] = burned.astype(bool)


def _burn_mask(path: Path, scene: Scene, windows: Sequence[Window], hidden: np.ndarray) -> None:
    size = hidden.shape[-1]
    with _open(path) as mask, gdal_session(path), _on_scene_grid(mask, scene) as view:
        names = [(text or "").strip().lower() for text in mask.descriptions]
        band = names.index(CLEAR_BAND) + 1 if CLEAR_BAND in names else 1
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
            known = read_mask(view, band, part, value.shape)
            covered = known & ((value == 0) if CLEAR_BAND in names else (value != 0))
            hidden[number][np.ix_(rows_in, cols_in)] = covered[
                np.ix_(rows - rows[0], cols - cols[0])
            ]


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
