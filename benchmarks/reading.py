"""How fast a scene is decoded, by the compression of its file, and how fast it is hashed.

    python benchmarks/reading.py [--source houston_large_post.tif] [--runs 5]

Writes the filled scene of `throughput.py` in several compressions and reads every block of it in
one thread, in turns. GDAL's block cache is off, so that nothing is found decoded; the file itself
lies in the system's cache: what a disk or a network adds comes on top.
"""

import argparse
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import rasterio
from rasterio.shutil import copy
from smoke_scene import CHIP_PX, make_smoke_scene

KINDS: dict[str, dict[str, object]] = {
    "deflate, 256 px blocks": {"compress": "deflate", "blockxsize": 256, "blockysize": 256},
    "deflate with predictor, 512 px blocks": {
        "compress": "deflate",
        "predictor": 2,
        "blockxsize": 512,
        "blockysize": 512,
    },
    "zstd with predictor, 512 px blocks": {
        "compress": "zstd",
        "predictor": 2,
        "blockxsize": 512,
        "blockysize": 512,
    },
    "jpeg of quality 85, 512 px blocks": {
        "compress": "jpeg",
        "photometric": "ycbcr",
        "jpeg_quality": 85,
        "blockxsize": 512,
        "blockysize": 512,
    },
    "uncompressed, 512 px blocks": {"compress": "none", "blockxsize": 512, "blockysize": 512},
}


@dataclass(kw_only=True)
class Row:
    """One file."""

    file: str
    size_mb: float
    bytes_a_chip: float
    """Of the file, per chip of 128 px."""
    decoding_chips_per_s: list[float] = field(default_factory=list)
    """Chips of 128 px that one core decodes, without cutting them out."""
    decoding_mb_per_s: list[float] = field(default_factory=list)
    """Bytes of the file that one core decodes."""
    hashing_mb_per_s: list[float] = field(default_factory=list)


def rewritten(scene: Path, kinds: dict[str, dict[str, object]]) -> dict[str, Path]:
    """Return the scene in each compression, beside it."""
    paths = {}
    for number, (name, options) in enumerate(kinds.items()):
        paths[name] = scene.with_name(f"kind-{number}.tif")
        copy(scene, paths[name], driver="GTiff", tiled=True, **options)
    return paths


def decode(path: Path) -> None:
    """Read every block once."""
    with rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            file.read((1, 2, 3), window=window)


def hashed(path: Path) -> None:
    """Hash the file as an assessment does."""
    with path.open("rb") as stream:
        hashlib.file_digest(stream, "sha256")


def processor_s(work: Callable[[Path], None], path: Path) -> float:
    """Return the processor seconds of some work on a file, which runs in one thread."""
    started = time.process_time()
    work(path)
    return time.process_time() - started


def measure(scene: Path, kinds: dict[str, dict[str, object]], runs: int) -> list[Row]:
    """Return a row for each compression."""
    with rasterio.open(scene) as file:
        chips = file.width * file.height / CHIP_PX**2
    paths = rewritten(scene, kinds)
    rows = {
        name: Row(
            file=name,
            size_mb=round(path.stat().st_size / 1e6, 2),
            bytes_a_chip=round(path.stat().st_size / chips),
        )
        for name, path in paths.items()
    }
    with rasterio.Env(GDAL_CACHEMAX=0, GDAL_NUM_THREADS=1):
        for _ in range(runs):
            for name, row in rows.items():
                seconds = processor_s(decode, paths[name])
                row.decoding_chips_per_s.append(round(chips / seconds, 1))
                row.decoding_mb_per_s.append(round(row.size_mb / seconds, 1))
                seconds = processor_s(hashed, paths[name])
                row.hashing_mb_per_s.append(round(row.size_mb / seconds, 1))
    return list(rows.values())


def main() -> None:
    """Measure, and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("DAMAGENET_DATA", "../shared/data"))
    source = data / "scenes" / "houston_large_post.tif"
    parser.add_argument("--source", type=Path, default=source, help="scene to take blocks from")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a scene of noise, one run")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "filled.tif"
        if arguments.smoke:
            make_smoke_scene(scene)
        else:
            from throughput import make_filled_scene  # which loads torch

            make_filled_scene(arguments.source, scene)
        rows = measure(scene, KINDS, 1 if arguments.smoke else arguments.runs)
    figures = {"rows": [asdict(row) for row in rows]}
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
