"""What every activation costs in training: time and memory, beside SiLU and Mish.

    python benchmarks/activations.py [--only pvlu,ada] [--dtype float32] [--device cpu]

For every function of the table, on images of 64 x 64 x 64 x 64 (N, C, H, W), in float32 and under
bfloat16 autocast, compiled where damagenet compiles: that its output and gradients are those of
the plain form; the bytes that it keeps for backward; and the time of forward, and of forward and
backward, in turns with torch's SiLU and Mish in the same run. Writes a Markdown table (--out) and
all figures as JSON (--json), prints which function misses a bar, and exits with 1 then.
"""

import argparse
import gc
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from damagenet.errors import ConfigError
from models.activations import ACTIVATIONS, build_activation, fused, settle

IMAGES, CHANNELS, SIDE_PX = 64, 64, 64
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}
"""Of the compiled form against the plain one; bfloat16 holds 8 bits."""
MEDIAN_BAR = {"cpu": 1.5, "cuda": 1.3}
"""Forward and backward in the median over the table, as a multiple of SiLU."""
SINGLE_BAR = 4.0
"""The same for one function, for every transcendental call in its formula, and at least one."""
MEMORY_BAR = 1.0
"""Saved for backward, as a multiple of the input; parameters come on top."""
UNBARRED = ("pynada",)
"""A neuron with two sets of weights, measured without a bar of its own."""
HERE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one function in one type on one device."""

    name: str
    device: str
    dtype: str
    transcendentals: int
    forward_ms: float
    both_ms: float
    """Forward and backward."""
    forward_to_silu: float
    both_to_silu: float
    both_to_mish: float
    saved: float
    """Bytes kept for backward, as a multiple of the input's."""
    warm_up_s: float
    """The first pass, with compilation where nothing is in the cache on disk."""
    wrong: str
    """How the compiled form differs from the plain one; empty where it does not."""

    @property
    def misses(self) -> list[str]:
        """The bars that it misses."""
        limit = SINGLE_BAR * max(1, self.transcendentals)
        slow = self.name not in UNBARRED and self.both_to_silu > limit
        return [
            *([f"wrong: {self.wrong}"] if self.wrong else []),
            *([f"{self.both_to_silu:.2f} x SiLU, bar {limit:.0f}"] if slow else []),
            # What is computed of parameters, a few numbers, is counted too.
            *([f"saves {self.saved:.2f} inputs"] if self.saved > MEMORY_BAR + 0.001 else []),
        ]


def measure(name: str, dtype: str, device: str, *, repeats: int) -> Row:
    """Return the figures of one function."""
    torch.manual_seed(0)
    channels = entering(name)
    shape = (channels, SIDE_PX, SIDE_PX)
    layer = build_activation(name, channels=channels, shape=shape).to(device)
    features = torch.randn(IMAGES, *shape, device=device).to(DTYPES[dtype])
    features.requires_grad_()
    started = time.perf_counter()
    with mixed(features):
        result, saved = with_saved_bytes(layer, features)
    incoming = torch.randn_like(result)
    result.backward(incoming)
    wait(device)
    warm_up_s = time.perf_counter() - started
    del result
    wrong = difference(layer, features, incoming, tolerance=TOLERANCE[dtype])
    layer.train()

    def plain_torch(function: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float]:
        return timed(function, features, torch.ones_like(features), device)

    rounds = [
        (plain_torch(F.silu), timed(layer, features, incoming, device), plain_torch(F.mish))
        for _ in range(repeats)
    ]
    return Row(
        name=name,
        device=device,
        dtype=dtype,
        transcendentals=ACTIVATIONS[name].transcendentals if name in ACTIVATIONS else 0,
        forward_ms=1000 * statistics.median(own[0] for _, own, _ in rounds),
        both_ms=1000 * statistics.median(own[1] for _, own, _ in rounds),
        forward_to_silu=statistics.median(own[0] / silu[0] for silu, own, _ in rounds),
        both_to_silu=statistics.median(own[1] / silu[1] for silu, own, _ in rounds),
        both_to_mish=statistics.median(own[1] / mish[1] for _, own, mish in rounds),
        saved=saved / features.untyped_storage().nbytes(),
        warm_up_s=warm_up_s,
        wrong=wrong,
    )


def entering(name: str) -> int:
    """Return the most channels up to 64 that the function can be given."""
    setting = settle(name, {})
    possible = []
    for channels in range(1, 2 * CHANNELS + 1):
        try:
            possible.append(setting.width(channels))
        except ConfigError:
            continue
    return max(width for width in possible if width <= CHANNELS)


def with_saved_bytes(layer: nn.Module, features: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the layer's output and the bytes that it keeps for backward beside its parameters."""
    parameters = {each.untyped_storage().data_ptr() for each in layer.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = layer(features)
    return result, sum(storages.values())


def timed(
    function: Callable[[torch.Tensor], torch.Tensor],
    features: torch.Tensor,
    incoming: torch.Tensor,
    device: str,
) -> tuple[float, float]:
    """Return the seconds of forward, and of forward and backward."""
    features.grad = None
    wait(device)
    started = time.perf_counter()
    with mixed(features):
        result = function(features)
    wait(device)
    forward_s = time.perf_counter() - started
    result.backward(incoming)
    wait(device)
    return forward_s, time.perf_counter() - started


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def difference(
    layer: nn.Module, features: torch.Tensor, incoming: torch.Tensor, *, tolerance: float
) -> str:
    """Say where output or gradients are not those of the plain form, without random numbers."""
    layer.eval()
    compiled = results(layer, features, incoming)
    with plainly():
        expected = results(layer, features, incoming)
    for what, found in compiled.items():
        # A parameter's gradient is a sum over the whole tensor, rounded in another order.
        slack = tolerance * (
            1 if found.shape == expected["output"].shape else features.numel() ** 0.5
        )
        close = torch.isclose(found, expected[what], rtol=tolerance, atol=slack)
        if not close.all():
            far = (found - expected[what]).abs().max().item()
            return f"{what} is off by up to {far:.2g}"
    return ""


def results(
    layer: nn.Module, features: torch.Tensor, incoming: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return output and gradients in float32."""
    layer.zero_grad()
    features.grad = None
    with mixed(features):
        output = layer(features)
    output.backward(incoming)
    gradients = {name: each.grad for name, each in layer.named_parameters()}
    found = {"output": output.detach(), "gradient": features.grad, **gradients}
    return {what: each.float() for what, each in found.items() if each is not None}


def mixed(features: torch.Tensor) -> torch.autocast:
    """Return what training in half precision runs under."""
    half = features.dtype != torch.float32
    return torch.autocast(features.device.type, torch.bfloat16, enabled=half)


@contextmanager
def plainly() -> Iterator[None]:
    """Compute every function operation by operation."""
    smallest = fused.SMALLEST
    fused.SMALLEST = sys.maxsize
    try:
        yield
    finally:
        fused.SMALLEST = smallest


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


def main() -> None:
    """Measure, write both files, say what misses a bar, and fail where one does."""
    arguments = parsed()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)
    rows = all_rows(arguments)
    measured_on, summary = machine(), medians(rows)
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
