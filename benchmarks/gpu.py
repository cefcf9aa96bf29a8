"""How much of a GPU's forward rate an assessment reaches, and how many cores decoding needs.

    python benchmarks/gpu.py [--device cuda] [--chips 16384] [--runs 5] [--json FILE]
    python benchmarks/gpu.py --device cpu --chips 64        a smoke run of the same code

An untrained ResNet-18 in bfloat16. Forward only: batches that lie on the device, one after the
other. Pipeline: `assess_scene` from an uncompressed GeoTIFF in memory (/dev/shm) to the records,
the model being loaded. Decoding: what one core reads of the same ground from a compressed file.
Exit code 0 above the bar of 85 % (and after a smoke run), 1 below it, 3 without a GPU.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window
from runtimes import RESNET, bundle_of

from damagenet.devices import resolve_device
from damagenet.engine.assess import assess_scene
from damagenet.errors import DeviceError
from damagenet.inference import Predictor, fused
from damagenet.options import AssessOptions
from damagenet.runtimes.answers import Answering
from damagenet.runtimes.precision import in_bfloat16
from data_prep.scene import Scene

CHIP_PX = 128
PIXEL_DEGREES = 4.487879e-6
"""Of the Harvey tiles, so that a chip is 128 whole pixels."""
BAR = 0.85
NO_GPU = 3


def make_scene(path: Path, side: int, compress: str | None) -> None:
    """Write a GeoTIFF of side x side chips of noise on blocky ground."""
    rng = np.random.default_rng(0)
    pixels = side * CHIP_PX
    profile = {
        "driver": "GTiff",
        "width": pixels,
        "height": pixels,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:4326",
        "transform": Affine(PIXEL_DEGREES, 0, -95.5, 0, -PIXEL_DEGREES, 29.8),
        "tiled": True,
        "photometric": "RGB",
    }
    with rasterio.open(path, "w", **profile, **({"compress": compress} if compress else {})) as out:
        for row in range(side):
            coarse = rng.integers(40, 200, (3, CHIP_PX // 16, pixels // 16), dtype=np.uint8)
            strip = coarse.repeat(16, axis=1).repeat(16, axis=2)
            strip += rng.integers(0, 12, strip.shape, dtype=np.uint8)
            out.write(strip, window=Window(0, row * CHIP_PX, pixels, CHIP_PX))


def forward_only(device: torch.device, batch: int, chips: int) -> float:
    """Return chips per second of a network alone, its input being on the device."""
    network = in_bfloat16(Answering(fused(bundle_of(RESNET).network).to(device)), device)
    images = torch.randint(0, 256, (batch, 3, CHIP_PX, CHIP_PX), dtype=torch.uint8, device=device)
    rounds = max(1, chips // batch)
    with torch.inference_mode():
        network(images)
        _settled(device)
        started = time.perf_counter()
        for _ in range(rounds):
            network(images)
        _settled(device)
    return rounds * batch / (time.perf_counter() - started)


def _settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def decoded_by_one_core(path: Path, side: int) -> float:
    """Return the chips per second of processor time that reading and cutting takes."""
    started = time.process_time()
    with Scene.open(path) as scene:
        for row in range(side):
            windows = [Window(CHIP_PX * n, CHIP_PX * row, CHIP_PX, CHIP_PX) for n in range(side)]
            scene.read_chips(windows, size_px=CHIP_PX)
    return side * side / (time.process_time() - started)


def measure(device: torch.device, given: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return the rates in chips per second, medians of the runs, and what they come to."""
    side = math.ceil(math.sqrt(given.chips))
    plain, packed = folder / "plain.tif", folder / "packed.tif"
    make_scene(plain, side, None)
    make_scene(packed, side, "deflate")
    predictor = Predictor(bundle_of(RESNET), device=str(device), runtime="bfloat16")
    options = AssessOptions(runtime="bfloat16", clouds="ignore")

    def pipeline(number: int) -> float:
        started = time.perf_counter()
        found = assess_scene(plain, folder / f"out-{number}", options, predictor, stem="scene")
        return found.counts.chips / (time.perf_counter() - started)

    pipeline(-1)  # the first batch builds the lanes and their graphs
    works: dict[str, Callable[[int], float]] = {
        "forward_only": lambda _: forward_only(device, predictor.batch_size, side * side),
        "pipeline": pipeline,
        "decoded_by_one_core": lambda _: decoded_by_one_core(packed, side),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(given.runs):
        for name, work in works.items():
            taken[name].append(work(number))
    rates = {name: statistics.median(each) for name, each in taken.items()}
    share = statistics.median(
        p / f for p, f in zip(taken["pipeline"], taken["forward_only"], strict=True)
    )
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "chips": side * side,
        **{f"{name}_chips_per_s": round(rate, 1) for name, rate in rates.items()},
        "share_of_forward_only": round(share, 3),
        "bar": BAR,
        "cores_to_decode": round(rates["forward_only"] / rates["decoded_by_one_core"], 2),
    }


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--chips", type=int, default=16_384)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    try:
        device = resolve_device(given.device)
    except DeviceError as err:
        print(f"{err} --chips 64 for a smoke run; nothing was measured", file=sys.stderr)
        sys.exit(NO_GPU)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        figures = measure(device, given, Path(folder))
    text = json.dumps(figures, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if device.type == "cuda" and figures["share_of_forward_only"] < BAR else 0)


if __name__ == "__main__":
    main()
