"""A made Harvey data set: a few dozen tiles in four regions, damage blue and ground green."""

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from published_tiles import add_tile, open_prepared

from data_prep.harvey import HarveyTiles
from data_prep.tile import CLASS_FOLDERS

CORNERS = {
    "victoria": (-97.005, 28.805),
    "houston-south": (-95.405, 29.505),
    "houston-west": (-95.605, 29.805),
    "houston-east": (-95.105, 29.755),
}
"""One spatial block inside each region; others follow to the east."""
SPLITS = ("train_another", "train_another", "validation_another", "test_another")
STEP = 0.0008
"""Degrees between tiles: more than a tile's side, so that they share no ground."""


def make_tiles(folder: Path, *, blocks: int = 3, leaks: int = 2) -> HarveyTiles:
    """Write and prepare tiles: per region and block four of each class, one of them a test tile.

    Args:
        folder: Gets `published` and `prepared`.
        blocks: Spatial blocks per region.
        leaks: Test tiles that are moved onto the ground of a training tile.
    """
    rng = np.random.default_rng(0)
    published = folder / "published"
    for region, (lon, lat) in CORNERS.items():
        for block in range(blocks):
            for number, split in enumerate(SPLITS):
                leaking = region == "houston-west" and split == "test_another" and block < leaks
                east = lon + 0.02 * block + (0.0002 if leaking else STEP * number)
                for label, name in enumerate(CLASS_FOLDERS):
                    place = east, lat + STEP * label
                    add_tile(published, f"{split}/{name}", *place, _speckled(label, rng))
    for name in CLASS_FOLDERS:
        copied = sorted((published / "train_another" / name).iterdir())[0]
        (published / "test" / name).mkdir(parents=True)
        shutil.copy(copied, published / "test" / name)
    return open_prepared(published, folder / "prepared")


def _speckled(label: int, rng: np.random.Generator) -> bytes:
    colour = (60, 80, 160) if label else (70, 140, 60)
    pixels = np.clip(rng.normal(colour, 25, (128, 128, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()
