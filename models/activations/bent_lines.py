"""Rectifiers made of lines, bent at trained or measured places."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from models.activations.function import Function, Parameter

Number = torch.Tensor | float
DUBEY = "arXiv:2109.14545"


def arelu(x: torch.Tensor, a: Number, b: Number, c: Number, d: Number) -> torch.Tensor:
    """Larger of two trained lines (Hu et al. 2021, arXiv:2112.09442)."""
    return torch.maximum(a * x + c, b * x + d)


@dataclass(frozen=True, slots=True)
class AverageBiased:
    """Rectifier above the average of all its input (arXiv:1804.02051)."""

    whole: ClassVar[bool] = True

    def __call__(self, x: torch.Tensor, mean: float) -> torch.Tensor:
        """Return max(0, x - mean), with x's own mean where `mean` is infinite."""
        return torch.relu(x - (x.mean() if math.isinf(mean) else mean))


def srelu(x: torch.Tensor, t_l: Number, a_l: Number, t_r: Number, a_r: Number) -> torch.Tensor:
    """S-shaped rectifier of three lines (arXiv:1512.07030)."""
    inside = torch.where(x > t_l, x, t_l + a_l * (x - t_l))
    return torch.where(x >= t_r, t_r + a_r * (x - t_r), inside)


def flexible_relu(x: torch.Tensor, a: Number, b: Number) -> torch.Tensor:
    """Rectifier moved sideways and upwards (arXiv:1706.08098)."""
    return torch.relu(x + a) + b


GAMMA = (
    -0.577191652,
    0.988205891,
    -0.897056937,
    0.918206857,
    -0.756704078,
    0.482199394,
    -0.193527818,
    0.035868343,
)
"""Gamma(1 + y) for y in 0..1, error below 3e-7 (Abramowitz and Stegun 6.1.36)."""


def fractional_relu(x: torch.Tensor, a: Number) -> torch.Tensor:
    """Fractional derivative of order a of the rectifier: x^(1 - a) / Gamma(2 - a) above 0."""
    order = 1 - a
    gamma: Number = GAMMA[-1]
    for coefficient in reversed(GAMMA[:-1]):
        gamma = coefficient + order * gamma
    gamma = 1 + order * gamma
    # A power of 0 has no finite slope: it is taken of 1 there and not used.
    high = torch.where(x > 0, x, 1.0)
    # As one exponential, not as a quotient: its backward pass takes a third of the time.
    scale = torch.as_tensor(gamma, dtype=x.dtype, device=x.device)
    power = torch.exp(order * torch.log(high) - torch.log(scale))
    return torch.where(x > 0, power, 0.0)


BENT_LINES: dict[str, Function] = {
    "abrelu": Function(
        formula="max(0, x - mean), mean = average of all input unless it is given",
        value=AverageBiased(),
        parameters={"mean": Parameter(initial=math.inf, learnable=False)},
        smoothness="C0",
        source=DUBEY,
        status="confirmed",
        note="the average runs over the batch: a verdict depends on the chips beside it",
    ),
    "arelu": Function(
        formula="max(a x + c, b x + d)",
        value=arelu,
        parameters={
            "a": Parameter(initial=1.0),
            "b": Parameter(initial=0.0),
            "c": Parameter(initial=0.0),
            "d": Parameter(initial=0.0),
        },
        smoothness="C0",
        source="arXiv:2112.09442",
        status="assumed",
        note="starts as ReLU; the authors' code starts both slopes at 1, where the lines tie",
    ),
    "flexible_relu": Function(
        formula="max(0, x + a) + b",
        value=flexible_relu,
        parameters={"a": Parameter(initial=0.0), "b": Parameter(initial=0.0)},
        smoothness="C0",
        source="arXiv:1706.08098",
        status="survey",
    ),
    "fractional_relu": Function(
        formula="x^(1 - a) / Gamma(2 - a) if x > 0 else 0",
        value=fractional_relu,
        parameters={"a": Parameter(initial=0.1, range="unit")},
        smoothness="C0",
        source="arXiv:2209.02681",
        status="assumed",
        transcendentals=1,
        note="the survey names fractional kinds; this is the derivative of order a of ReLU",
    ),
    "srelu": Function(
        formula="t_r + a_r (x - t_r) if x >= t_r; x if t_l < x < t_r; t_l + a_l (x - t_l) else",
        value=srelu,
        parameters={
            "t_l": Parameter(initial=0.0),
            "a_l": Parameter(initial=0.2),
            "t_r": Parameter(initial=1.0),
            "a_r": Parameter(initial=1.0),
        },
        per="channel",
        smoothness="C0",
        source="arXiv:1512.07030",
        status="assumed",
        note="start values assumed",
    ),
}
