"""A made event: a scene whose damaged buildings are blue, and labels of them."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from tiny_run import EAST, NORTH, PIXEL_M, SIZE_PX, UTM, make_bundle

COLOURS = {True: (60, 80, 160), False: (90, 130, 70)}
STEP_PX = 40
"""Pixels (and metres) between buildings: their chips of 32 px do not touch."""


def make_event(
    path: Path, *, rows: int = 8, columns: int = 8, seed: int = 0, hole: slice | None = None
) -> gpd.GeoDataFrame:
    """Write a scene of 1 m pixels and return its buildings: uid, grade (hit or fine), polygons.

    Args:
        path: The GeoTIFF.
        rows: Buildings from north to south.
        columns: Buildings from west to east.
        seed: Of the grades and of the speckle.
        hole: Columns in pixels without data (nodata 0).
    """
    rng = np.random.default_rng(seed)
    hit = rng.random((rows, columns)) < 0.4
    height, width = rows * STEP_PX, columns * STEP_PX
    pixels = rng.normal(120, 8, (3, height, width))
    for row in range(rows):
        for column in range(columns):
            top, left = row * STEP_PX, column * STEP_PX
            speckle = rng.normal(0, 12, (3, SIZE_PX, SIZE_PX))
            block = np.array(COLOURS[bool(hit[row, column])])[:, None, None] + speckle
            pixels[:, top : top + SIZE_PX, left : left + SIZE_PX] = block
    pixels = np.clip(pixels, 1, 255).astype(np.uint8)
    if hole is not None:
        pixels[:, :, hole] = 0
    _write(path, pixels)
    centres = (np.indices((rows, columns)).reshape(2, -1) * STEP_PX + SIZE_PX / 2) * PIXEL_M
    shapes = shapely.buffer(shapely.points(EAST + centres[1], NORTH - centres[0]), 5)
    ids = [f"{path.stem}-{number}" for number in range(rows * columns)]
    grades = np.where(hit.ravel(), "hit", "fine")
    return gpd.GeoDataFrame({"uid": ids, "grade": grades}, geometry=shapes, crs=UTM)


def make_graded_event(folder: Path) -> dict[str, str]:
    """Write scene.tif, houses.geojson and the bundle `start`; return the truth of each house."""
    houses = make_event(folder / "scene.tif")
    houses[["uid", "geometry"]].to_file(folder / "houses.geojson")
    make_bundle(folder / "start")
    words = {"hit": "damaged", "fine": "undamaged"}
    return {uid: words[grade] for uid, grade in zip(houses["uid"], houses["grade"], strict=True)}


def _write(path: Path, pixels: np.ndarray) -> None:
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=count,
        dtype="uint8",
        nodata=0,
        photometric="RGB",
        crs=UTM,
        transform=Affine(PIXEL_M, 0, EAST, 0, -PIXEL_M, NORTH),
    ) as file:
        file.write(pixels)
