"""Whether AutoInit keeps the variance of signals at 1, for every activation of the table.

    python benchmarks/autoinit.py [--only tanh,relu] [--draws 20] [--distribution truncated_normal]

Dense layers of 512 with a function between them, started by AutoInit as any network is, on 128
vectors of N(0, 1), in training mode. Measured is the variance of what leaves each layer of
weights, over vectors and units, as the mean of the draws: the first two layers for all functions,
and all 100 for those whose slope of the variance map is below 0.95. Writes a table (--out), prints
which function misses a bar, and exits with 1 then.
"""

import argparse
import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models.activations import ACTIVATIONS, ActivationMaker, activation_maker, parameter_names
from models.activations.moments import SAMPLES, STEP, moments
from models.autoinit import AutoInit, walk
from models.autoinit.draws import draw_weights
from models.autoinit.options import Distribution
from models.autoinit.sampling import through_activation
from models.autoinit.signal import Signal

WIDTH = 512
DIVISIBLE = 510
"""Width where channels must divide by three."""
VECTORS = 128
STEADY = 0.95
"""Functions with a smaller slope are followed through the whole depth."""
FIRST_BAR = 0.05
"""Of the first two layers."""
DEEP_BAR = 0.10
"""Of all layers, for steady functions."""
HERE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one function has shown."""

    name: str
    slope: float
    means: list[float]
    """Variance of what leaves each layer of weights, mean of the draws."""
    errors: list[float]
    """Their standard errors."""

    @property
    def deep(self) -> bool:
        """Whether it was followed through the depth."""
        return len(self.means) > 2

    @property
    def furthest(self) -> int:
        """Return the layer whose variance is furthest from 1."""
        return max(range(len(self.means)), key=lambda at: abs(self.means[at] - 1))

    def shown(self, at: int) -> str:
        """Return the variance at a layer in words."""
        return f"{self.means[at]:.3f} ± {self.errors[at]:.3f}"

    @property
    def misses(self) -> list[str]:
        """Return what is out of bounds."""
        early = max((0, 1), key=lambda at: abs(self.means[at] - 1))
        missed = []
        if abs(self.means[early] - 1) > FIRST_BAR:
            missed.append(f"layer {early + 1} has {self.shown(early)}")
        if self.deep and abs(self.means[self.furthest] - 1) > DEEP_BAR:
            missed.append(f"layer {self.furthest + 1} has {self.shown(self.furthest)}")
        return missed


def measure(name: str, *, draws: int, depth: int, options: AutoInit) -> Row:
    """Measure one function."""
    width, make = _maker(name)
    slope = _slope(make, width)
    layers = depth if abs(slope) < STEADY else 2
    network = _network(make, width=width, layers=layers)
    # Equal for all draws, so that the network is followed once.
    plan = walk(network, [torch.empty(1, width)], options).draws
    found = []
    for seed in range(draws):
        torch.manual_seed(seed)
        for each in plan:
            draw_weights(each, options.distribution)
        found.append(_variances(network, width=width))
    variances = torch.stack(found)
    return Row(
        name=name,
        slope=slope,
        means=variances.mean(0).tolist(),
        errors=(variances.std(0) / math.sqrt(draws)).tolist(),
    )


def _slope(make: ActivationMaker, width: int) -> float:
    """Return the slope of the variance map at 1, at this width, which softmax depends on."""
    known = moments(make.setting.name)
    if not known.sampled:
        return known.variance_slope
    seconds = [
        through_activation(
            make.setting, Signal(0.0, variance), channels=make.width(width), draws=SAMPLES
        ).second
        for variance in (1 - STEP, 1 + STEP, 1.0)
    ]
    return (seconds[1] - seconds[0]) / (2 * STEP * seconds[2])


def _maker(name: str) -> tuple[int, ActivationMaker]:
    shared: dict[str, str] = {"per": "layer"} if "per" in parameter_names(name) else {}
    make = activation_maker(Choice(name=name, parameters=shared))
    try:
        make.width(WIDTH)
    except ConfigError:
        return DIVISIBLE, make
    return WIDTH, make


def _network(make: ActivationMaker, *, width: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.utils.skip_init(nn.Linear, width, make.width(width)), make(width)]
    return nn.Sequential(*parts)


def _variances(network: nn.Sequential, *, width: int) -> torch.Tensor:
    """Return the variance of what leaves each layer of weights, (layers,)."""
    found = []
    with torch.no_grad():
        features = torch.randn(VECTORS, width)
        for part in network:
            features = part(features)
            if isinstance(part, nn.Linear):
                found.append(features.double().var(correction=0))
    return torch.stack(found)


def markdown(rows: list[Row], *, draws: int, depth: int, distribution: str) -> str:
    """Return the table as a page."""
    lines = [
        "# How well AutoInit keeps the variance, per activation",
        "",
        f"Made by `python benchmarks/autoinit.py`: dense layers of {WIDTH} ({DIVISIBLE} where "
        f"channels must divide by three), {VECTORS} vectors of N(0, 1), mean of {draws} draws "
        f"(distribution {distribution}) with its standard error. Slope is that of the variance "
        "map at its fixed point 1: below 1 the depth corrects the variance, above 1 an error "
        f"grows by it with every layer without a norm. Functions whose slope is below {STEADY} "
        f"in size were followed through {depth} layers, others through two.",
        "",
        f"| function | slope | variance at layer 1 | layer 2 | furthest from 1 of {depth} |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: row.slope):
        first, second = row.shown(0), row.shown(1)
        deep = row.shown(row.furthest) if row.deep else ""
        lines.append(f"| {row.name} | {row.slope + 0.0:.3f} | {first} | {second} | {deep} |")
    return "\n".join(lines) + "\n"


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names with commas; without it, the whole table")
    parser.add_argument("--draws", type=int, default=20, help="networks per function")
    # Ten times as fast to draw as the truncated one, and of the same variance.
    parser.add_argument("--distribution", choices=get_args(Distribution), default="normal")
    parser.add_argument("--depth", type=int, default=100, help="layers of the deep ones")
    parser.add_argument("--out", type=Path, default=HERE / "docs" / "autoinit_variance.md")
    return parser.parse_args()


def main() -> None:
    """Measure, write the table, say what misses a bar, and fail where one does."""
    arguments = parsed()
    logging.disable(logging.WARNING)
    names = arguments.only.split(",") if arguments.only else sorted(ACTIVATIONS)
    options = AutoInit(distribution=arguments.distribution)
    rows = []
    for number, name in enumerate(names, start=1):
        row = measure(name, draws=arguments.draws, depth=arguments.depth, options=options)
        rows.append(row)
        told = ", ".join(row.shown(at) for at in (0, 1, row.furthest))
        missed = "; ".join(row.misses)
        print(f"{number}/{len(names)} {name} {row.slope:.3f}: {told} {missed}", file=sys.stderr)
    page = markdown(
        rows,
        draws=arguments.draws,
        depth=arguments.depth,
        distribution=arguments.distribution,
    )
    arguments.out.write_text(page, encoding="utf-8")
    missed = [f"{row.name}: {miss}" for row in rows for miss in row.misses]
    print("\n".join(missed) or f"{len(rows)} functions within all bars")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
