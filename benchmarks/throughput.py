"""How fast an assessment is, end to end, against the model alone.

    python benchmarks/throughput.py [--model harvey|resnet18|FOLDER] [--buildings] [--runs 7]

Fills a scene of 6144 x 6144 px with the filled blocks of a real one (2,304 chips of 128 px), then
measures in turns, the model being loaded: forward only, all chips in memory, through `Predictor`
alone and through its batches side by side, as an assessment runs them; and end to end
(`assess_scenes`, from the GeoTIFF to the written GeoPackage and COG). With `--buildings`, the real
scene itself and the points of its buildings instead of the grid. `resnet18` is a bundle of random
weights, made here.

The bar is a share of the forward-only rate, the faster of the two, as the median over the runs:
95 % for ResNet-18, 75 % for compact networks, 80 % for buildings with ResNet-18.
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
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from side_by_side import ask_side_by_side

from damagenet.bundle import load_bundle
from damagenet.bundle_writing import save_bundle
from damagenet.card import Card
from damagenet.engine.batch import assess_scenes
from damagenet.engine.work import plan_work
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.recipe import Choice, ModelSettings
from data_prep.footprints import read_buildings
from data_prep.scene import Scene
from models.factory import build_network

SIDE_PX = 6144
BLOCK_PX = 256
CHIP_PX = 128
CHIPS = (SIDE_PX // CHIP_PX) ** 2
BARS = {"compact": 0.75, "resnet18": 0.95, "buildings": 0.80}
FORMATS = ("gpkg", "cog")


def make_bundle(architecture: str, folder: Path) -> Card:
    """Write a bundle of random weights that takes what the bundle `harvey` takes."""
    like = load_bundle("harvey")
    torch.manual_seed(0)
    model = ModelSettings(architecture=Choice(name=architecture))
    network = build_network(
        model, pixel_mean=like.card.pixel_mean, pixel_std=like.card.pixel_std, size_px=CHIP_PX
    )
    card = like.card.model_copy(
        update={"model": model, "name": architecture, "strangeness": None, "confidence": None}
    )
    return save_bundle(folder, card, network.eval(), like.training_tiles())


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


def grid_windows() -> list[Window]:
    """Return the windows of the filled scene, row by row."""
    across = SIDE_PX // CHIP_PX
    return [
        Window(CHIP_PX * column, CHIP_PX * row, CHIP_PX, CHIP_PX)
        for row in range(across)
        for column in range(across)
    ]


def building_windows(scene: Path, options: AssessOptions, card: Card) -> list[Window]:
    """Return the windows of the buildings on a scene."""

    with Scene.open(scene) as opened:
        work = plan_work(opened, card.chip, options, read_buildings(options.buildings))
        units = [unit for piece in range(len(work.sizes)) for unit in work.units(piece)]
    return [window for unit in units for window in unit.windows]


def read_chips(scene: Path, windows: Sequence[Window]) -> np.ndarray:
    """Return the chips of windows that show anything: uint8 (N, 3, 128, 128)."""
    with Scene.open(scene) as opened:
        parts = [
            opened.read_chips(windows[start : start + 512], size_px=CHIP_PX)
            for start in range(0, len(windows), 512)
        ]
    return np.concatenate([part.images[0][part.valid.any(axis=(1, 2))] for part in parts])


def measure(
    *,
    folder: Path,
    source: Path,
    model: str = "harvey",
    buildings: Path | None = None,
    formats: Sequence[str] = FORMATS,
    device: str = "cpu",
    runs: int = 7,
    alone: bool = True,
) -> dict[str, object]:
    """Return the rates in chips per second, run by run, and their ratios.

    Args:
        folder: For what is made and written.
        source: Scene to take filled blocks from; with buildings, the scene itself.
        model: Bundle by name or folder, or an architecture to give random weights.
        buildings: Points to judge instead of the grid.
        formats: Files to write.
        device: Where the model runs.
        runs: Interleaved runs of each.
        alone: Measure one batch at a time too, on all of torch's threads.
    """
    scene, bundle = source, model
    if buildings is None:
        scene = folder / "filled.tif"
        make_filled_scene(source, scene)
    if model == "resnet18":
        make_bundle(model, folder / model)
        bundle = str(folder / model)
    predictor = Predictor(load_bundle(bundle), device=device)
    options = AssessOptions(model=bundle, device=device, format=formats, buildings=buildings)
    card = predictor.bundle.card
    windows = grid_windows() if buildings is None else building_windows(scene, options, card)
    chips = (read_chips(scene, windows),)

    def end_to_end(number: int) -> int:
        result = assess_scenes([scene], folder / f"out-{number}", options, predictor=predictor)
        return result.assessments[0].counts.chips

    works: dict[str, Callable[[int], int]] = {
        "forward": lambda _: len(predictor.probabilities(chips)),
        "forward_side_by_side": lambda _: len(ask_side_by_side(predictor, chips)),
        "end_to_end": end_to_end,
    }
    if not alone:
        del works["forward"]
    predictor.probabilities((chips[0][:256],))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(runs):
        for name, work in works.items():
            taken[name].append(_timed(work, number))
        rates = ", ".join(f"{name} {of[-1][0]:.1f}" for name, of in taken.items())
        print(f"run {number + 1}: {rates} chips/s", file=sys.stderr)
    kind = (
        "buildings" if buildings is not None else "resnet18" if model == "resnet18" else "compact"
    )
    return {
        "machine": machine(),
        "model": model,
        "scene": kind if buildings is not None else "filled",
        "formats": list(formats),
        "chips": len(chips[0]),
        **_figures(taken, BARS[kind]),
    }


def _figures(taken: dict[str, list[tuple[float, float]]], bar: float) -> dict[str, object]:
    """Return rates, processor time for 1,000 chips, and the medians of the ratios."""
    whole = taken["end_to_end"]
    ratios = {name: _ratios(of, whole) for name, of in taken.items() if name != "end_to_end"}
    return {
        **{f"{name}_chips_per_s": [round(rate, 1) for rate, _ in taken[name]] for name in taken},
        **{
            f"{name}_processor_s_per_1000": [round(1000 * used, 3) for _, used in taken[name]]
            for name in taken
        },
        **{f"median_ratio_to_{name}": round(ratio, 3) for name, (ratio, _) in ratios.items()},
        # The share of processor time that the network gets: hardly moved by other programs.
        **{
            f"median_processor_ratio_to_{name}": round(used, 3)
            for name, (_, used) in ratios.items()
        },
        "bar": bar,
        "passed": min(ratio for ratio, _ in ratios.values()) >= bar,
    }


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


def _timed(work: Callable[[int], int], number: int) -> tuple[float, float]:
    """Return chips per second of wall time, and processor seconds of all threads per chip."""
    wall, processor = time.perf_counter(), time.process_time()
    chips = work(number)
    return chips / (time.perf_counter() - wall), (time.process_time() - processor) / chips


def main() -> None:
    """Measure, print a table and the JSON, and fail below the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    scenes = Path(os.environ.get("DAMAGENET_DATA", "../shared/data")) / "scenes"
    parser.add_argument("--source", type=Path, default=scenes / "houston_large_post.tif")
    parser.add_argument("--model", default="harvey", help="bundle, or resnet18: random weights")
    points = scenes / "houston_large_buildings.geojson"
    parser.add_argument("--buildings", type=Path, nargs="?", const=points, help="not the grid")
    parser.add_argument("--formats", default=",".join(FORMATS), help="written, by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only-side-by-side", action="store_true", help="not batch after batch")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            folder=Path(folder),
            source=arguments.source,
            model=arguments.model,
            buildings=arguments.buildings,
            formats=tuple(arguments.formats.split(",")),
            device=arguments.device,
            runs=arguments.runs,
            alone=not arguments.only_side_by_side,
        )
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if figures["passed"] else 1)


if __name__ == "__main__":
    main()
