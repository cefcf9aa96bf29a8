"""Tiny rasters for tests, written where the test says."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from data_prep.scene import Scene, SceneOptions

UTM = Affine(0.4347, 0, 244_000, 0, -0.4977, 3_303_600)
"""A north-up grid west of Houston with pixels like the training tiles'."""


def write_raster(
    path: Path,
    pixels: np.ndarray,
    *,
    transform: Affine | None = UTM,
    crs: str | None = "EPSG:32615",
    mask: np.ndarray | None = None,
    **profile: object,
) -> Path:
    """Write pixels (bands, height, width) as GeoTIFF, or as what `driver` says."""
    count, height, width = pixels.shape
    settings = {"driver": "GTiff", "width": width, "height": height, "count": count}
    settings |= {"dtype": str(pixels.dtype)} | profile
    if transform is not None:
        settings["transform"] = transform
    if crs is not None:
        settings["crs"] = crs
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **settings) as file:
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


def noise(height: int, width: int, *, seed: int = 0, bands: int = 3) -> np.ndarray:
    """Return random uint8 pixels above 0."""
    return np.random.default_rng(seed).integers(1, 256, (bands, height, width), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """Return a picture of slow waves, so that resampling it changes little."""
    rows, cols = np.mgrid[0:height, 0:width].astype(float)
    waves = [np.sin(cols / 23 + band) + np.cos(rows / 31 - band) for band in range(3)]
    return np.clip(np.stack(waves) * 55 + 128, 1, 255).astype(np.uint8)


def read_one(path: Path, window: Window, options: SceneOptions | None = None):
    """Return the chip of one window, uint8 (3, 128, 128), and its valid mask."""
    with Scene.open(path, options) as scene:
        chips = scene.read_chips([window], size_px=128)
    return chips.images[0][0], chips.valid[0]


def place(col: float, row: float) -> tuple[float, float]:
    """Return the EPSG:32615 coordinates of a pixel place of the test scene."""
    return UTM.c + col * UTM.a, UTM.f + row * UTM.e


def box(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    (west, north), (east, south) = place(left, top), place(right, bottom)
    return shapely.box(west, south, east, north)


def frame_of(shapes, **columns) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs="EPSG:32615")
