"""A small data set in the form of the published one: JPEG tiles named by their coordinate."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.harvey import HarveyTiles
from data_prep.preparation import prepare
from data_prep.tile import CLASS_FOLDERS, PUBLISHED_SPLITS

STEP_DEGREES = 0.001
"""Between the centres of neighbouring tiles: they do not touch."""
CORNERS = ((-97.0, 28.8), (-95.5, 29.8))
"""Where the tiles of a made data set start: one corner in victoria, one in houston-west."""


def jpeg(seed: int, *, size: tuple[int, int] = (128, 128), mode: str = "RGB") -> bytes:
    """Return a smooth random picture as JPEG."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (4, 4, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def make_published(root: Path, *, per_folder: int = 4) -> Path:
    """Write the eight class folders, half of each in victoria and half in houston-west.

    No two tiles share ground, and all have different pixels.
    """
    for split_number, split in enumerate(PUBLISHED_SPLITS):
        for class_number, folder in enumerate(CLASS_FOLDERS):
            for number in range(per_folder):
                row = split_number * len(CLASS_FOLDERS) + class_number
                west, south = CORNERS[number % 2]
                lon, lat = west + number * STEP_DEGREES, south + row * STEP_DEGREES
                add_tile(root, f"{split}/{folder}", lon, lat, jpeg(row * per_folder + number))
    return root


def add_tile(root: Path, folder: str, lon: float, lat: float, content: bytes) -> Path:
    """Write one tile; return its path."""
    path = root / folder / f"{lon:.6f}_{lat:.6f}.jpeg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def make_tar(folder: Path, path: Path, *, mode: str = "w") -> Path:
    """Pack a folder, the last file first, so that the tar is not in sorted order."""
    with tarfile.open(path, mode) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.add(file, file.relative_to(folder), recursive=False)
    return path


def open_prepared(src: Path, dest: Path) -> HarveyTiles:
    """Prepare a made data set and open it."""
    prepare(src, dest, quiet=True)
    return HarveyTiles.open(dest)
