"""How fast an assessment is, end to end, against the model alone.

    python benchmarks/throughput.py --source houston_large_post.tif [--model NAME] [--runs 5]

Fills a scene of 6144 x 6144 px with the filled blocks of a real one (2,304 chips of 128 px), then
measures in turns, the model being loaded: forward only, all chips in memory, through `Predictor`
alone and through its batches side by side, as an assessment runs them; and end to end
(`assess_scenes`, from the GeoTIFF to the default files). The bar is 70 % of the forward-only rate,
as the median over the runs, for the faster of the two.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from damagenet.bundle import load_bundle
from damagenet.devices import crew_of
from damagenet.engine.batch import assess_scenes
from damagenet.engine.prefetch import prefetched
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.scene import Scene

SIDE_PX = 6144
BLOCK_PX = 256
CHIP_PX = 128
CHIPS = (SIDE_PX // CHIP_PX) ** 2
BAR = 0.70


def make_filled_scene(source: Path, path: Path, *, side_px: int = SIDE_PX) -> None:
    """Write a scene without holes from the wholly valid blocks of another, over and over."""
    with rasterio.open(source) as file:
        blocks = _filled_blocks(file)
        profile = file.profile | {"width": side_px, "height": side_px, "nodata": None}
    across = side_px // BLOCK_PX
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as out:
        for number in range(across**2):
            row, column = divmod(number, across)
            window = Window(column * BLOCK_PX, row * BLOCK_PX, BLOCK_PX, BLOCK_PX)
            out.write(blocks[number % len(blocks)], window=window)


def _filled_blocks(file: rasterio.DatasetReader) -> list[np.ndarray]:
    blocks = []
    for row in range(0, file.height - BLOCK_PX + 1, BLOCK_PX):
        for column in range(0, file.width - BLOCK_PX + 1, BLOCK_PX):
            window = Window(column, row, BLOCK_PX, BLOCK_PX)
            if file.dataset_mask(window=window).all():
                blocks.append(file.read((1, 2, 3), window=window))
    if not blocks:
        sys.exit(f"{file.name} holds no filled block of {BLOCK_PX} px: give another --source")
    return blocks


def all_chips(path: Path) -> tuple[np.ndarray, ...]:
    """Return all chips of the filled scene: one array uint8 (2304, 3, 128, 128)."""
    across = SIDE_PX // CHIP_PX
    windows = [
        Window(CHIP_PX * column, CHIP_PX * row, CHIP_PX, CHIP_PX)
        for row in range(across)
        for column in range(across)
    ]
    with Scene.open(path) as scene:
        parts = [
            scene.read_chips(windows[start : start + 512], size_px=CHIP_PX).images[0]
            for start in range(0, len(windows), 512)
        ]
    return (np.concatenate(parts),)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return both rates in chips per second, run by run, and their ratio."""
    scene = folder / "filled.tif"
    make_filled_scene(arguments.source, scene)
    predictor = Predictor(load_bundle(arguments.model), device=arguments.device)
    chips = all_chips(scene)
    options = AssessOptions(model=arguments.model, device=arguments.device)

    def end_to_end(number: int) -> None:
        result = assess_scenes([scene], folder / f"out-{number}", options, predictor=predictor)
        judged = result.assessments[0].counts.chips
        if judged != CHIPS:
            sys.exit(f"{judged} chips were judged, {CHIPS} expected")

    works: dict[str, Callable[[int], object]] = {
        "forward": lambda _: predictor.probabilities(chips),
        "forward_side_by_side": lambda _: side_by_side(predictor, chips),
        "end_to_end": end_to_end,
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    predictor.probabilities((chips[0][:256],))
    for number in range(arguments.runs):
        for name, work in works.items():
            taken[name].append(_timed(work, number))
        rates = ", ".join(f"{name} {runs[-1][0]:.1f}" for name, runs in taken.items())
        print(f"run {number + 1}: {rates} chips/s", file=sys.stderr)
    ratios = [_ratios(taken[name], taken["end_to_end"]) for name in works if name != "end_to_end"]
    return {
        "machine": machine(),
        "model": arguments.model,
        "chips": CHIPS,
        **{f"{name}_chips_per_s": [round(rate, 1) for rate, _ in taken[name]] for name in works},
        **{f"{name}_processor_s": [round(used, 2) for _, used in taken[name]] for name in works},
        "median_ratio": round(ratios[0][0], 3),
        "median_ratio_side_by_side": round(ratios[1][0], 3),
        # The share of processor time that the network gets: hardly moved by other programs.
        "median_processor_ratio": round(ratios[0][1], 3),
        "median_processor_ratio_side_by_side": round(ratios[1][1], 3),
        "bar": BAR,
        "passed": min(ratio for ratio, _ in ratios) >= BAR,
    }


def side_by_side(predictor: Predictor, chips: tuple[np.ndarray, ...]) -> None:
    """Ask the model about all chips, with as many batches at a time as suit the device."""
    starts = range(0, len(chips[0]), predictor.batch_size)
    batches = (tuple(image[n : n + predictor.batch_size] for image in chips) for n in starts)
    with crew_of(predictor.device) as crew:
        answers = prefetched(
            predictor.probabilities,
            batches,
            ahead=crew.workers,
            workers=crew.workers,
            prepare=crew.prepare,
        )
        judged = sum(len(answer) for answer in answers)
    if judged != CHIPS:
        sys.exit(f"{judged} chips were judged, {CHIPS} expected")


def _ratios(
    forward: list[tuple[float, float]], whole: list[tuple[float, float]]
) -> tuple[float, float]:
    """Return the medians of the ratio of rates and of that of processor time."""
    pairs = list(zip(whole, forward, strict=True))
    return (
        statistics.median(w / f for (w, _), (f, _) in pairs),
        statistics.median(f / w for (_, w), (_, f) in pairs),
    )


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch": torch.__version__,
        "rasterio": rasterio.__version__,
        "python": platform.python_version(),
    }


def _timed(work: Callable[[int], object], number: int) -> tuple[float, float]:
    """Return chips per second of wall time, and processor seconds of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    work(number)
    return CHIPS / (time.perf_counter() - wall), time.process_time() - processor


def main() -> None:
    """Measure, print a table and the JSON, and fail below the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("DAMAGENET_DATA", "../shared/data"))
    source = data / "scenes" / "houston_large_post.tif"
    parser.add_argument("--source", type=Path, default=source, help="scene to take blocks from")
    parser.add_argument("--model", default="harvey", help="bundle: name or folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if figures["passed"] else 1)


if __name__ == "__main__":
    main()
