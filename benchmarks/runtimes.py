"""What each runtime costs on a CPU: chips per second, time to start, and how far answers move.

    python benchmarks/runtimes.py [--chips 512] [--runs 7] [--no-compile] [--json F] [--table F]

For the shipped bundles `harvey` (compact CNN) and `harvey-event` (EfficientNet-Lite0), and an
untrained ResNet-18: torch, ONNX Runtime, bfloat16 and torch's compiler in turns over the same
made chips, batches side by side as an assessment runs them; with --tiles also int8. The median of
the runs counts. `starts` is what comes before the first chip: export and comparison, or compiling.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from side_by_side import ask_side_by_side

from damagenet.bundle import Bundle, load_bundle, read_card
from damagenet.card import Calibration
from damagenet.errors import DamageNetError
from damagenet.export.export import export_model
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings
from data_prep.harvey import HarveyTiles
from models.factory import build_network

RESNET = "resnet18"
COLUMNS = ("network", "runtime", "chips_per_s", "processor_ms", "starts_s", "pays_from", "moves_p")


def bundle_of(name: str) -> Bundle:
    """Return a shipped bundle, or an untrained ResNet-18 with a card of its own."""
    if name != RESNET:
        return load_bundle(name)
    torch.manual_seed(0)
    card = read_card("harvey")
    model = ModelSettings(architecture=Choice(name=RESNET))
    network = build_network(model, pixel_mean=card.pixel_mean, pixel_std=card.pixel_std)
    update = {"name": RESNET, "model": model, "calibration": Calibration(), "strangeness": None}
    return Bundle(card=card.model_copy(update=update), network=network.eval(), folder=Path("none"))


def measure(name: str, given: argparse.Namespace, chips: np.ndarray) -> list[dict[str, object]]:
    """Return one row for each runtime of a network."""
    bundle = bundle_of(name)
    runtimes = ["torch", "onnx", "bfloat16"] + ([] if given.no_compile else ["compile"])
    predictors, starts = {}, {}
    for runtime in runtimes:
        started = time.perf_counter()
        predictors[runtime] = Predictor(bundle, device="cpu", runtime=runtime)
        starts[runtime] = time.perf_counter() - started
    if given.tiles and name != RESNET:
        started = time.perf_counter()
        try:
            predictors["onnx int8"] = _int8(name, given.tiles)
            starts["onnx int8"] = time.perf_counter() - started
        except DamageNetError as err:
            print(f"int8: {err}", file=sys.stderr)
    wall: dict[str, list[float]] = {runtime: [] for runtime in predictors}
    used: dict[str, list[float]] = {runtime: [] for runtime in predictors}
    found = {runtime: ask_side_by_side(each, (chips[:64],)) for runtime, each in predictors.items()}
    for _ in range(given.runs):
        for runtime, predictor in predictors.items():
            clock, processor = time.perf_counter(), time.process_time()
            ask_side_by_side(predictor, (chips,))
            wall[runtime].append(time.perf_counter() - clock)
            used[runtime].append(time.process_time() - processor)
    per_chip = {runtime: statistics.median(each) / len(chips) for runtime, each in wall.items()}
    return [
        {
            "network": name,
            "runtime": runtime,
            "chips_per_s": round(1 / per_chip[runtime]),
            "processor_ms": round(1e3 * statistics.median(used[runtime]) / len(chips), 2),
            "starts_s": round(starts[runtime], 1),
            "pays_from": _pays_from(
                starts[runtime] - starts["torch"], per_chip["torch"] - per_chip[runtime]
            ),
            "moves_p": float(f"{np.abs(found[runtime] - found['torch']).max():.1e}"),
        }
        for runtime in predictors
    ]


def _int8(name: str, tiles: Path) -> Predictor:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8"
        export_model(name, out, kind="onnx", tiles=HarveyTiles.open(tiles))
        return Predictor(load_bundle(out, runtime="onnx"), device="cpu", runtime="onnx")


def _pays_from(later_s: float, saved_s: float) -> int | None:
    """Return the chips after which a runtime is ahead of torch; None where it never is."""
    return max(0, round(later_s / saved_s)) if saved_s > 0 else None


def table(rows: list[dict[str, object]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [
        f"| {' | '.join('never' if row[key] is None else str(row[key]) for key in COLUMNS)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all networks and print the table; the JSON also describes the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=512)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--networks", nargs="+", default=["harvey", "harvey-event", RESNET])
    parser.add_argument("--no-compile", action="store_true", help="leave torch's compiler out")
    parser.add_argument("--tiles", type=Path, help="prepared tiles: measure int8 too")
    parser.add_argument("--json", type=Path, help="write rows and machine here")
    parser.add_argument("--table", type=Path, help="write the Markdown table here")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    chips = rng.integers(0, 256, (given.chips, 3, 128, 128), dtype=np.uint8)
    rows = [row for name in given.networks for row in measure(name, given, chips)]
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch": torch.__version__,
    }
    print(table(rows), end="")
    if given.table:
        given.table.write_text(table(rows), encoding="utf-8")
    if given.json:
        content = {"machine": machine, "chips": given.chips, "runs": given.runs, "rows": rows}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
