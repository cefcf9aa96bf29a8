"""How much memory and time an assessment takes beyond its imports, on a scene of any size.

    python benchmarks/memory.py [--model NAME] [--side 60000] [--filled 40 | --dense]
    python benchmarks/memory.py --curve [--json FILE]

Makes a sparse COG of 60,000 x 60,000 px in a temporary folder, with some filled blocks spread over
it (or a dense one), assesses it over the grid, and reports the peak of the resident memory above
that after the imports. The bar is 2 GB. `--curve` does so for the scenes of `CURVE`, each in a
process of its own, and prints a table: seconds follow what is covered, not what is spanned.
The COG of 200,000 px alone takes GDAL some minutes to make: half of that is its overviews.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
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
CURVE = (
    {"side": 20_000, "filled": 40},
    {"side": 60_000, "filled": 10},
    {"side": 60_000, "filled": 40},
    {"side": 60_000, "filled": 160},
    {"side": 200_000, "filled": 40},
    {"side": 10_000, "dense": True},
    {"side": 20_000, "dense": True},
)
"""The same cover on more ground, more cover on the same ground, and ground that is all covered."""


def make_sparse_scene(path: Path, *, side_px: int, filled: int) -> None:
    """Write a sparse, tiled GeoTIFF laid out as a COG, with some filled blocks of noise.

    Blocks never written take no room in the file and read as nodata.
    """
    rng = np.random.default_rng(0)
    striped = path.with_name("striped.tif")
    with rasterio.open(striped, "w", **_profile(side_px)) as file:
        across = side_px // BLOCK_PX
        for place in rng.choice(across**2, size=filled, replace=False):
            row, column = divmod(int(place), across)
            pixels = rng.integers(1, 255, size=(3, BLOCK_PX, BLOCK_PX), dtype=np.uint8)
            file.write(pixels, window=Window(column * BLOCK_PX, row * BLOCK_PX, *pixels.shape[1:]))
    _as_cog(striped, path)
    striped.unlink()


def make_dense_scene(path: Path, *, side_px: int) -> None:
    """Write a tiled GeoTIFF without a hole, of flecks 8 px wide."""
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **_profile(side_px)) as file:
        for row in range(0, side_px, BLOCK_PX):
            height = min(BLOCK_PX, side_px - row)
            flecks = rng.integers(1, 255, (3, BLOCK_PX // 8, -(-side_px // 8)), dtype=np.uint8)
            pixels = flecks.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :side_px]
            file.write(pixels, window=Window(0, row, side_px, height))


def _profile(side_px: int) -> dict[str, object]:
    return {
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
        # Cubic, the default, would take minutes for ground that is not there.
        OVERVIEW_RESAMPLING="NEAREST",
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


def measure(
    folder: Path, *, side: int, filled: int = 40, dense: bool = False, model: str = "harvey"
) -> dict[str, object]:
    """Make a scene, assess it and return the peak memory with what was assessed."""
    scene, out = folder / "scene.tif", folder / "out"
    _in_child(scene, side=side, filled=filled, dense=dense)
    # Warm: what importing and making the first tensors costs is no matter of the scene.
    torch.zeros(1).add_(1)
    options = AssessOptions(model=model, device="cpu")
    with PeakMemory() as memory:
        started, used = time.perf_counter(), time.process_time()
        result = assess_scenes([scene], out, options)
        seconds, used = time.perf_counter() - started, time.process_time() - used
    if result.failures:
        sys.exit(result.failures[0].sentence)
    counts = result.assessments[0].counts
    above = (memory.peak_bytes - memory.start_bytes) / 1e9
    return {
        "side_px": side,
        "kind": "dense" if dense else "sparse COG",
        "scene_mb": round(scene.stat().st_size / 1e6, 1),
        "cells": counts.units + counts.empty_cells,
        "judged_chips": counts.chips,
        "seconds": round(seconds, 1),
        "processor_s": round(used, 1),
        "imports_gb": round(memory.start_bytes / 1e9, 3),
        "peak_above_imports_gb": round(above, 3),
        "bar_gb": BAR_GB,
        "passed": above < BAR_GB,
    }


def curve(model: str, points: Sequence[Mapping[str, object]] = CURVE) -> list[dict[str, object]]:
    """Return the figures of several scenes, each measured in a process of its own."""
    rows = []
    for point in points:
        size = ["--dense"] if point.get("dense") else ["--filled", str(point["filled"])]
        command = [sys.executable, __file__, "--model", model, "--side", str(point["side"]), *size]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
        if not done.stdout:
            sys.exit(f"{point} could not be measured")
        rows.append(json.loads(done.stdout))
        print(_row(rows[-1].values()) if rows[1:] else _table_head(rows[-1]), file=sys.stderr)
    return rows


def _table_head(row: Mapping[str, object]) -> str:
    return "\n".join([_row(row), _row("---" for _ in row), _row(row.values())])


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> None:
    """Measure, print JSON, and fail above the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="harvey", help="bundle: name or folder")
    parser.add_argument("--side", type=int, default=60_000, help="pixels")
    parser.add_argument("--filled", type=int, default=40, help="filled blocks of 512 px")
    parser.add_argument("--dense", action="store_true", help="no hole anywhere")
    parser.add_argument("--curve", action="store_true", help="several sizes, as a table")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        figures: object
        if given.curve:
            rows = figures = curve(given.model)
            passed = all(row["passed"] for row in rows)
        else:
            size = {"side": given.side, "filled": given.filled, "dense": given.dense}
            figures = row = measure(Path(name), model=given.model, **size)
            passed = bool(row["passed"])
    text = json.dumps(figures, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if passed else 1)


def _in_child(path: Path, *, side: int, filled: int, dense: bool) -> None:
    """Make the scene where its memory does not count."""
    child = os.fork()
    if child == 0:
        if dense:
            make_dense_scene(path, side_px=side)
        else:
            make_sparse_scene(path, side_px=side, filled=filled)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("the scene could not be made: is there room in the temporary folder?")


if __name__ == "__main__":
    main()
