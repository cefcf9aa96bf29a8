"""A scene of noise, with which benchmarks show that they run."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

CHIP_PX = 128
SMOKE_PX = 512
PIXEL_DEG = 4.487879136029412e-06
"""Of the Harvey scenes, so that a chip is 128 px of them."""


def make_smoke_scene(path: Path) -> None:
    """Write 16 chips of noise."""
    pixels = np.random.default_rng(0).integers(1, 255, (3, SMOKE_PX, SMOKE_PX), dtype=np.uint8)
    profile = {"driver": "GTiff", "width": SMOKE_PX, "height": SMOKE_PX, "count": 3}
    placed = {"crs": "EPSG:4326", "transform": Affine(PIXEL_DEG, 0, -95.6, 0, -PIXEL_DEG, 29.8)}
    with rasterio.open(path, "w", dtype="uint8", tiled=True, **profile, **placed) as file:
        file.write(pixels)
