"""What a dense map costs, and how near it comes to every chip by itself.

    python benchmarks/dense.py --source houston_large_post.tif --model harvey --scene xbd_11.tif

Costs: a scene without holes is made from the filled blocks of the source, and assessed to its
parts in turns, without `--stride` (chips side by side) and with a stride of a quarter of the chip.
The bar is a ratio of 2.5 of the former, where asking every chip would be about 16. The sample that
the dense map is corrected and measured by is part of it. Differences: each scene, with a stride of
a quarter of the chip, as a dense map and chip by chip; the bar is a mean of 0.02. With
`--untrained NAME` the costs are those of an architecture with weights as they start.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from throughput import make_filled_scene

from damagenet.assessment import Assessment
from damagenet.bundle import Bundle, load_bundle
from damagenet.engine import dense_sample
from damagenet.engine.assess import assess_scene
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.recipe import Choice, ModelSettings
from models.factory import build_network

QUARTER = 0.25
COST_BAR, DIFFERENCE_BAR = 2.5, 0.02
LARGEST_DIFFERENCE = dense_sample.LARGEST_DIFFERENCE


def untrained(name: str) -> Bundle:
    """Return the bundle `harvey` with another network, whose weights are as they start."""
    bundle = load_bundle("harvey")
    model = ModelSettings(architecture=Choice(name=name))
    torch.manual_seed(0)
    network = build_network(
        model, pixel_mean=bundle.card.pixel_mean, pixel_std=bundle.card.pixel_std
    ).eval()
    card = bundle.card.model_copy(update={"name": name, "model": model, "strangeness": None})
    return Bundle(card=card, network=network, folder=bundle.folder, neighbours=None)


def assess(scene: Path, predictor: Predictor, **options: object) -> tuple[Assessment, pd.DataFrame]:
    """Return an assessment in a folder of its own, and its records."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = AssessOptions.model_validate(options)
        made = assess_scene(scene, Path(folder), chosen, predictor, stem="scene")
        return made, pd.concat(made.parts()).set_index("row").sort_index()


def costs(scene: Path, predictor: Predictor, runs: int) -> dict[str, object]:
    """Return seconds of processor and wall time of both kinds, and their ratio, in medians."""
    stride = QUARTER * predictor.bundle.card.chip.width_m
    kinds: dict[str, dict[str, object]] = {"chips": {}, "dense": {"stride": stride}}
    spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    units: dict[str, int] = {}
    for _ in range(runs):
        for kind, options in kinds.items():
            begun = time.process_time(), time.perf_counter()
            made, _ = assess(scene, predictor, **options)
            used = time.process_time() - begun[0], time.perf_counter() - begun[1]
            spent[kind].append(used)
            units[kind] = made.counts.units
        if made.dense is not None and not made.dense.used:
            break  # every chip was asked by itself, which takes long enough once
    ratios = [
        [dense / chips for dense, chips in zip(*pair, strict=True)]
        for pair in zip(spent["dense"], spent["chips"], strict=True)
    ]
    processor, wall = (statistics.median(one[axis] for one in ratios) for axis in (0, 1))
    return {
        "units": units,
        "seconds (processor, wall)": spent,
        "ratio_processor": round(processor, 2),
        "ratio_wall": round(wall, 2),
        "bar": COST_BAR,
        "dense": made.dense and made.dense.model_dump(),
    }


def differences(scene: Path, predictor: Predictor) -> dict[str, object]:
    """Return how far a dense map lies from every chip by itself, however far that is."""
    stride = QUARTER * predictor.bundle.card.chip.width_m
    dense_sample.LARGEST_DIFFERENCE = 1.0
    made, dense = assess(scene, predictor, stride=stride)
    _, alone = assess(scene, predictor, stride=stride, dense="off")
    found = (dense.p_damaged - alone.p_damaged).abs().dropna()
    return {
        "scene": scene.name,
        "windows": len(found),
        "mean": round(float(found.mean()), 4),
        "99 %": round(float(found.quantile(0.99)), 4),
        "other labels": round(float((dense.label != alone.label).mean()), 4),
        "bar": DIFFERENCE_BAR,
        "by its sample": made.dense and made.dense.model_dump(),
        "said": [text for text in made.warnings if "dense map" in text],
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--source", type=Path, required=True, help="Scene to fill another from.")
    parser.add_argument("--model", action="append", default=[], help="Bundle; more than once.")
    parser.add_argument("--untrained", action="append", default=[], help="Architecture, for costs.")
    parser.add_argument("--scene", type=Path, action="append", default=[], help="To compare on.")
    parser.add_argument("--side", type=int, default=6144, help="Side of the filled scene, pixels.")
    parser.add_argument("--runs", type=int, default=3, help="Turns; 0 measures no cost.")
    parser.add_argument("--json", type=Path, help="File for the figures.")
    given = parser.parse_args()
    bundles = [load_bundle(name) for name in given.model]
    found: dict[str, object] = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "filled.tif"
        if given.runs:
            make_filled_scene(given.source, filled, side_px=given.side)
        for bundle in [*bundles, *map(untrained, given.untrained)]:
            predictor = Predictor(bundle)
            of_it: dict[str, object] = {}
            if given.runs:
                # Weights as they start may be refused, which says nothing of what they cost.
                most = 1.0 if bundle.card.name in given.untrained else LARGEST_DIFFERENCE
                dense_sample.LARGEST_DIFFERENCE = most
                of_it["costs"] = costs(filled, predictor, given.runs)
            if bundle.card.name not in given.untrained:
                of_it["differences"] = [differences(scene, predictor) for scene in given.scene]
            found[bundle.card.name] = of_it
            print(json.dumps({bundle.card.name: of_it}, indent=1), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
