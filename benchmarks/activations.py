"""What every activation costs in training: time and memory, beside SiLU and Mish.

    python benchmarks/activations.py [--only pvlu,ada] [--dtype float32] [--device cpu]

For every function of the table, on images of 64 x 64 x 64 x 64 (N, C, H, W), in float32 and under
bfloat16 autocast, compiled where damagenet compiles: that its output and gradients are those of
the plain form; the bytes that it keeps for backward; and the time of forward, and of forward and
backward, in turns with torch's SiLU and Mish in the same run. Writes a Markdown table (--out) and
all figures as JSON (--json), prints which function misses a bar, and exits with 1 then. With
--only, rows of other functions that were measured on the same kind of machine are kept.
"""

import argparse
import gc
import json
import logging
import os
import platform
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from activation_timing import CHANNELS, DTYPES, IMAGES, SIDE_PX, Row, measure

from damagenet.errors import ConfigError
from models.activations import ACTIVATIONS, fused, settle

MEDIAN_BAR = {"cpu": 1.5, "cuda": 1.3}
"""Forward and backward in the median over the table, as a multiple of SiLU."""
SAME_MACHINE = ("processor", "cores", "torch_threads", "torch", "gpu")
"""What must agree for rows of two runs to stand in one table."""
HERE = Path(__file__).parent.parent


def medians(rows: list[Row]) -> list[dict[str, object]]:
    """Return the median over the table for each device and type, with its bar."""
    summary: list[dict[str, object]] = []
    for device, dtype in sorted({(row.device, row.dtype) for row in rows}):
        ratios = [row.both_to_silu for row in rows if (row.device, row.dtype) == (device, dtype)]
        median = statistics.median(ratios)
        bar = MEDIAN_BAR[device]
        passed = median <= bar
        summary.append(
            {"device": device, "dtype": dtype, "median": median, "bar": bar, "passed": passed}
        )
    return summary


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """Return the processor's name, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def markdown(measured_on: dict[str, object], rows: list[Row]) -> str:
    """Return the table as a page."""
    lines = [
        "# What each activation costs in training",
        "",
        "Made by `python benchmarks/activations.py`. Time is forward and backward on images of "
        f"{IMAGES} x {CHANNELS} x {SIDE_PX} x {SIDE_PX}, as a multiple of `torch.nn.functional."
        "silu` in the same run (medians of turns); saved is what is kept for backward, as a "
        "multiple of the input; calls are those of exp, log, sin ... in the formula.",
        "",
        f"Measured on: {', '.join(f'{key} {value}' for key, value in measured_on.items())}.",
        "",
    ]
    for device, dtype in sorted({(row.device, row.dtype) for row in rows}):
        chosen = [row for row in rows if (row.device, row.dtype) == (device, dtype)]
        lines += [f"## {device}, {dtype}", "", *_table(chosen), ""]
    return "\n".join(lines)


def _table(rows: list[Row]) -> list[str]:
    median = statistics.median(row.both_to_silu for row in rows)
    return [
        "| function | calls | ms | x SiLU | x Mish | forward x SiLU | saved | misses |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row.name} | {row.transcendentals} | {row.both_ms:.0f} | {row.both_to_silu:.2f} | "
            f"{row.both_to_mish:.2f} | {row.forward_to_silu:.2f} | {row.saved:.2f} | "
            f"{'; '.join(row.misses)} |"
            for row in rows
        ),
        f"| **median** | | | **{median:.2f}** | | | | |",
    ]


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names with commas; without it, the whole table")
    parser.add_argument("--dtype", choices=sorted(DTYPES), help="without it, both")
    parser.add_argument("--device", choices=sorted(MEDIAN_BAR), help="without it, all there are")
    parser.add_argument("--repeats", type=int, default=5, help="rounds per function")
    parser.add_argument("--threads", type=int, help="without it, as torch takes")
    parser.add_argument("--out", type=Path, default=HERE / "docs" / "activation_costs.md")
    parser.add_argument("--json", type=Path, default=HERE / "models" / "activations" / "costs.json")
    return parser.parse_args()


def all_rows(arguments: argparse.Namespace) -> list[Row]:
    """Measure what the command line asks for."""
    names = arguments.only.split(",") if arguments.only else list(ACTIVATIONS)
    for name in names:
        settle(name, {})
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    rows = []
    for number, name in enumerate(names, start=1):
        for device in [arguments.device] if arguments.device else devices:
            for dtype in [arguments.dtype] if arguments.dtype else DTYPES:
                row = measure(name, dtype, device, repeats=arguments.repeats)
                rows.append(row)
                told = f"{row.both_to_silu:.2f} x SiLU, saves {row.saved:.2f}"
                missed = "; ".join(row.misses)
                print(
                    f"{number}/{len(names)} {name} {device} {dtype}: {told} {missed}",
                    file=sys.stderr,
                )
        fused.forget_kernels()
        gc.collect()
    return rows


def beside_earlier(path: Path, measured_on: dict[str, object], rows: list[Row]) -> list[Row]:
    """Return rows in the order of the table, with those in a file that are still true.

    Every time is a multiple of SiLU's in the same turns, so that rows may be measured apart.
    """
    if not path.exists():
        return rows
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if any(earlier["machine"][each] != measured_on[each] for each in SAME_MACHINE):
        sys.exit(f"{path} was measured elsewhere: name another --json and --out, or measure all")
    known = [Row(**row) for row in earlier["rows"]]
    merged = {(row.name, row.device, row.dtype): row for row in (*known, *rows)}
    order = list(ACTIVATIONS)
    return sorted(merged.values(), key=lambda row: order.index(row.name))


def main() -> None:
    """Measure, write both files, say what misses a bar, and fail where one does."""
    arguments = parsed()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)
    asked = arguments.only.split(",") if arguments.only else []
    if other := [name for name in asked if name not in ACTIVATIONS]:
        sys.exit(f"{', '.join(other)}: no function of the table, but perhaps another name of one")
    try:
        rows = all_rows(arguments)
    except ConfigError as err:
        sys.exit(str(err))
    measured_on = machine()
    if arguments.only:
        rows = beside_earlier(arguments.json, measured_on, rows)
    summary = medians(rows)
    figures = {
        "machine": measured_on,
        "shape": [IMAGES, CHANNELS, SIDE_PX, SIDE_PX],
        "medians": summary,
        "rows": [asdict(row) for row in rows],
    }
    arguments.out.write_text(markdown(measured_on, rows), encoding="utf-8")
    arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    missed = [f"{row.name} {row.device} {row.dtype}: {miss}" for row in rows for miss in row.misses]
    for each in summary:
        what = f"median {each['device']} {each['dtype']}: {each['median']:.2f} x SiLU"
        print(what)
        missed += [] if each["passed"] else [f"{what}, bar {each['bar']}"]
    print("\n".join(missed) or f"{len(rows)} rows within all bars")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
