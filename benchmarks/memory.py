"""How much memory an assessment takes beyond its imports, on a scene of any size.

    python benchmarks/memory.py [--model NAME] [--side 60000] [--filled 40]

Makes a sparse COG of 60,000 x 60,000 px in a temporary folder, with some filled blocks spread over
it, assesses it over the grid, and reports the peak of the resident memory above that after the
imports. The bar is 2 GB.
"""

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window

from damagenet.engine.batch import assess_scenes
from damagenet.options import AssessOptions

BLOCK_PX = 512
PIXEL_M = 0.46
BAR_GB = 2.0
PAGE = resource.getpagesize()


def make_sparse_scene(path: Path, *, side_px: int, filled: int) -> None:
    """Write a sparse, tiled GeoTIFF laid out as a COG, with some filled blocks of noise.

    Blocks never written take no room in the file and read as nodata.
    """
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "width": side_px,
        "height": side_px,
        "count": 3,
        "dtype": "uint8",
        "nodata": 0,
        "crs": "EPSG:32615",
        "transform": Affine(PIXEL_M, 0, 240_000, 0, -PIXEL_M, 3_320_000),
        "photometric": "RGB",
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "deflate",
        "SPARSE_OK": True,
        "BIGTIFF": "YES",
    }
    striped = path.with_name("striped.tif")
    with rasterio.open(striped, "w", **profile) as file:
        across = side_px // BLOCK_PX
        for place in rng.choice(across**2, size=filled, replace=False):
            row, column = divmod(int(place), across)
            pixels = rng.integers(1, 255, size=(3, BLOCK_PX, BLOCK_PX), dtype=np.uint8)
            file.write(pixels, window=Window(column * BLOCK_PX, row * BLOCK_PX, *pixels.shape[1:]))
    _as_cog(striped, path)
    striped.unlink()


def _as_cog(source: Path, path: Path) -> None:
    from rasterio.shutil import copy

    copy(
        source,
        path,
        driver="COG",
        SPARSE_OK=True,
        COMPRESS="DEFLATE",
        BLOCKSIZE=BLOCK_PX,
        BIGTIFF="YES",
        OVERVIEWS="AUTO",
    )


class PeakMemory:
    """Watches the resident memory of this process from a thread of its own."""

    def __init__(self) -> None:
        self.start_bytes = self.peak_bytes = resident_bytes()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, resident_bytes())


def resident_bytes() -> int:
    """Return the resident memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Assess the sparse scene and return the peak memory with what was assessed."""
    scene, out = folder / "sparse.tif", folder / "out"
    # Warm: what importing and making the first tensors costs is no matter of the scene.
    torch.zeros(1).add_(1)
    with PeakMemory() as memory:
        started = time.perf_counter()
        result = assess_scenes([scene], out, AssessOptions(model=arguments.model, device="cpu"))
        seconds = time.perf_counter() - started
    if result.failures:
        sys.exit(result.failures[0].sentence)
    counts = result.assessments[0].counts
    above = (memory.peak_bytes - memory.start_bytes) / 1e9
    return {
        "side_px": arguments.side,
        "scene_mb": round(scene.stat().st_size / 1e6, 1),
        "cells": counts.units + counts.empty_cells,
        "judged_chips": counts.chips,
        "seconds": round(seconds, 1),
        "imports_gb": round(memory.start_bytes / 1e9, 3),
        "peak_above_imports_gb": round(above, 3),
        "bar_gb": BAR_GB,
        "passed": above < BAR_GB,
    }


def main() -> None:
    """Make the scene in a process of its own, measure, print JSON, and fail above the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="harvey", help="bundle: name or folder")
    parser.add_argument("--side", type=int, default=60_000, help="pixels")
    parser.add_argument("--filled", type=int, default=40, help="filled blocks of 512 px")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _in_child(folder / "sparse.tif", arguments)
        figures = measure(arguments, folder)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if figures["passed"] else 1)


def _in_child(path: Path, arguments: argparse.Namespace) -> None:
    """Make the scene where its memory does not count."""
    child = os.fork()
    if child == 0:
        make_sparse_scene(path, side_px=arguments.side, filled=arguments.filled)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("the scene could not be made: is there room in the temporary folder?")


if __name__ == "__main__":
    main()
