"""What every architecture costs at 128 px: parameters, multiply-adds, time, memory.

    python benchmarks/architectures.py [--only all_cnn,resnet18] [--out docs/architectures.md]

Forward and training step (float32, AdamW) on batches of 16 chips in turns, so that what else the
machine does meets all alike; medians over the rounds. Peak memory is that of a process of its own
above its imports, for a forward pass of 64 chips and for a training step of 16. Prints a Markdown
table; `--out` sets it between the markers of a page, and writes all figures as JSON beside it.
Linux only, as the memory is read from /proc.
"""

import argparse
import json
import logging
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml
from activations import machine
from architecture_figures import (
    FORWARD,
    STEPS,
    TRAINING,
    Bench,
    Clock,
    multiply_adds,
    parameters,
    peak_bytes,
)

from damagenet.recipe import Choice
from models.architectures import ARCHITECTURES

BEGIN, END = (
    "<!-- benchmarks/architectures.py begin -->",
    "<!-- benchmarks/architectures.py end -->",
)
TIMED_CHIPS = 16
FORWARD_CHIPS = 64
"""Batch whose memory in a forward pass is measured; that of a training step has `TIMED_CHIPS`."""


def line(name: str, **parameters: float | bool | str) -> Choice:
    """Return what `model.architecture` says in a recipe."""
    return Choice(name=name, parameters=parameters)


SETTINGS = (
    line("compact_resnet"),
    line("cao_choe"),
    line("all_cnn", variant="A"),
    line("all_cnn", variant="B"),
    line("all_cnn", variant="C"),
    line("all_cnn", width=24, extra_stage=True),
    line("wide_resnet", depth=16, width=2),
    line("wide_resnet", depth=16, width=2, stem_stride=2),
    line("cifar_resnet", depth=32, stem_stride=2),
    line("sresnet", n=2, width=16, time_steps=6),
    line("mocapsnet", width=64, num_caps=16, blocks=2),
    line("lite0_texture"),
    line("efficientnet_lite0"),
    line("resnet18"),
    line("convnext_tiny"),
)
"""One row each. Architectures of our own that are not named here have a row of their defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one setting."""

    setting: str
    parameters: int
    multiply_adds: int
    """Of one chip."""
    forward_chips_per_s: list[float]
    training_chips_per_s: list[float]
    forward_peak_bytes: int
    training_peak_bytes: int


def settings(only: list[str]) -> list[Choice]:
    """Return what is measured, all of it where no name is given; exit for an unknown name."""
    named = {setting.name for setting in SETTINGS}
    others = [line(name) for name in sorted(ARCHITECTURES) if name not in named]
    every = [*SETTINGS, *others]
    names = [setting.name for setting in every]
    for name in only:
        if name not in names:
            sys.exit(f"no row of {name!r}; --only takes: {', '.join(dict.fromkeys(names))}")
    return [setting for setting in every if not only or setting.name in only]


def in_words(setting: Choice) -> str:
    """Return a setting as a recipe says it, as in `{name: all_cnn, variant: A}`."""
    if not setting.parameters:
        return setting.name
    said = {"name": setting.name, **setting.parameters}
    return yaml.safe_dump(said, default_flow_style=True, sort_keys=False).strip()


def measure(chosen: list[Choice], arguments: argparse.Namespace) -> list[Row]:
    """Return the figures of all settings, memory first, then times in turns."""
    size_px, timed = arguments.size, arguments.timed_chips
    chips = {FORWARD: arguments.forward_chips, TRAINING: timed}
    peaks = []
    for setting in chosen:
        print(f"memory of {in_words(setting)}", file=sys.stderr)
        peaks.append(
            {step: peak_bytes(setting, step, chips=chips[step], size_px=size_px) for step in STEPS}
        )
    benches = [Bench(setting, size_px) for setting in chosen]
    clocks = []
    for setting, bench in zip(chosen, benches, strict=True):
        print(f"first steps of {in_words(setting)}", file=sys.stderr)
        clocks.append({step: Clock(bench.step(step, timed), timed) for step in STEPS})
    for number in range(1, arguments.rounds + 1):
        print(f"round {number} of {arguments.rounds}", file=sys.stderr)
        for each in clocks:
            for clock in each.values():
                clock.round()
    return [
        Row(
            setting=in_words(setting),
            parameters=parameters(bench.network),
            multiply_adds=multiply_adds(bench.network, size_px),
            forward_chips_per_s=each[FORWARD].rates,
            training_chips_per_s=each[TRAINING].rates,
            forward_peak_bytes=peak[FORWARD],
            training_peak_bytes=peak[TRAINING],
        )
        for setting, bench, each, peak in zip(chosen, benches, clocks, peaks, strict=True)
    ]


def markdown(rows: list[Row], measured_on: dict[str, object], arguments: argparse.Namespace) -> str:
    """Return the table, with what it was measured on."""
    lines = [
        "| `model.architecture` | parameters | multiply-adds a chip | forward, chips/s | "
        "training, chips/s | forward peak | training peak |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| `{row.setting}` | {row.parameters:,} | {row.multiply_adds / 1e6:,.0f} M | "
            f"{statistics.median(row.forward_chips_per_s):.3g} | "
            f"{statistics.median(row.training_chips_per_s):.3g} | "
            f"{row.forward_peak_bytes / 1e6:,.0f} MB | {row.training_peak_bytes / 1e6:,.0f} MB |"
            for row in rows
        ),
        "",
        f"At {arguments.size} px; batches of {arguments.timed_chips} chips, for the forward peak "
        f"{arguments.forward_chips}; medians of {arguments.rounds} rounds. Measured on: "
        f"{', '.join(f'{key} {value}' for key, value in measured_on.items())}.",
    ]
    return "\n".join(lines)


def around_the_table(page: Path) -> tuple[str, str]:
    """Return a page before and after its table; exit where it has no place for one."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{page} has no place for the table: give it the lines {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN, END + rest.partition(END)[2]


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="architectures with commas, for a table of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="without it, as torch takes")
    parser.add_argument("--out", type=Path, help="page to set the table into; JSON goes beside it")
    parser.add_argument("--smoke", action="store_true", help="2 chips of 64 px once: does it run")
    arguments = parser.parse_args()
    arguments.size, arguments.timed_chips, arguments.forward_chips = 128, TIMED_CHIPS, FORWARD_CHIPS
    if arguments.smoke:
        arguments.size = 64
        arguments.rounds = arguments.timed_chips = arguments.forward_chips = 2
    return arguments


def main() -> None:
    """Measure, print the table, and write page and JSON where asked."""
    arguments = parsed()
    chosen = settings([name for name in arguments.only.split(",") if name])
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)
    # A page without a place for the table is better refused before an hour of measuring.
    around = around_the_table(arguments.out) if arguments.out else None
    rows = measure(chosen, arguments)
    measured_on = machine()
    table = markdown(rows, measured_on, arguments)
    print(table)
    if around is not None:
        arguments.out.write_text(f"\n{table}\n".join(around), encoding="utf-8")
        figures = {
            "machine": measured_on,
            "size_px": arguments.size,
            "timed_chips": arguments.timed_chips,
            "forward_chips": arguments.forward_chips,
            "rows": [asdict(row) for row in rows],
        }
        text = json.dumps(figures, indent=1) + "\n"
        arguments.out.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
