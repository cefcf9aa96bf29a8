"""Functions with a sine in them."""

import math

import torch

from models.activations.function import Function, Parameter
from models.activations.sides import below

NISH = "arXiv:2210.09083"
NOEL = "arXiv:2111.04020"


def pvlu(x: torch.Tensor, alpha: torch.Tensor | float, beta: torch.Tensor | float) -> torch.Tensor:
    """Rectifier with a ripple (Gupta and Ahuja 2021, arXiv:2110.12246)."""
    return torch.relu(x) + alpha * torch.sin(beta * x)


def nish(x: torch.Tensor) -> torch.Tensor:
    """Rectifier with a damped sine below zero, first reading of arXiv:2210.09083."""
    low = below(x)
    return torch.relu(x) + torch.sin(low) * torch.sigmoid(low)


def nish_sinlu(x: torch.Tensor) -> torch.Tensor:
    """Second reading: below zero the half of SinLU (doi:10.3390/math10030337)."""
    low = below(x)
    return torch.relu(x) + (low + torch.sin(low)) * torch.sigmoid(low)


def sinlu(x: torch.Tensor, a: torch.Tensor | float, b: torch.Tensor | float) -> torch.Tensor:
    """Sinu-sigmoidal linear unit (doi:10.3390/math10030337)."""
    return (x + a * torch.sin(b * x)) * torch.sigmoid(x)


def gcu(x: torch.Tensor) -> torch.Tensor:
    """Growing cosine unit (arXiv:2108.12943)."""
    return x * torch.cos(x)


def squ(x: torch.Tensor) -> torch.Tensor:
    """Shifted quadratic unit (arXiv:2111.04020)."""
    return x * (x + 1)


def ncu(x: torch.Tensor) -> torch.Tensor:
    """Non-monotonic cubic unit (arXiv:2111.04020)."""
    return x - x * x * x


def sinc(x: torch.Tensor) -> torch.Tensor:
    """Unnormalised sinc: sin(x) / x, 1 at 0."""
    # The slope of the quotient is a small difference near 0, good to 3 digits in float32, as that
    # of torch's own sinc is; the series has all of them.
    near = x.abs() < 0.5
    small = torch.where(near, x, 0.0)
    series = torch.ones_like(small)
    for divisor in (10 * 11, 8 * 9, 6 * 7, 4 * 5, 2 * 3):
        series = 1 - small * small / divisor * series
    far = torch.where(near, 1.0, x)
    return torch.where(near, series, torch.sin(far) / far)


def ssu(x: torch.Tensor) -> torch.Tensor:
    """Shifted sinc unit (arXiv:2111.04020)."""
    return math.pi * sinc(x - math.pi)


def dsu(x: torch.Tensor) -> torch.Tensor:
    """Decaying sine unit (arXiv:2111.04020)."""
    # The closed form pi^2 sin(x) / (pi^2 - x^2) is 0 / 0 at pi.
    return math.pi / 2 * (sinc(x - math.pi) - sinc(x + math.pi))


OSCILLATING: dict[str, Function] = {
    "pvlu": Function(
        formula="max(0, x) + alpha sin(beta x)",
        value=pvlu,
        parameters={"alpha": Parameter(initial=0.1), "beta": Parameter(initial=1.0)},
        per="channel",
        smoothness="C0",
        source="arXiv:2110.12246",
        status="assumed",
        transcendentals=1,
        note="start values assumed; with alpha = 0 a pretrained ReLU network stays what it was",
    ),
    "nish": Function(
        formula="x if x > 0 else sin(x) sigmoid(x)",
        value=nish,
        smoothness="C0",
        source=NISH,
        status="assumed",
        transcendentals=2,
        note="the paper's wording only; nish_sinlu_variant is the other reading",
    ),
    "nish_sinlu_variant": Function(
        formula="x if x > 0 else (x + sin(x)) sigmoid(x)",
        value=nish_sinlu,
        smoothness="C1",
        source=NISH,
        status="assumed",
        transcendentals=2,
    ),
    "sinlu": Function(
        formula="(x + a sin(b x)) sigmoid(x)",
        value=sinlu,
        parameters={"a": Parameter(initial=1.0), "b": Parameter(initial=1.0)},
        smoothness="C-inf",
        source="doi:10.3390/math10030337",
        transcendentals=2,
    ),
    "gcu": Function(
        formula="x cos(x)",
        value=gcu,
        smoothness="C-inf",
        source="arXiv:2108.12943",
        status="confirmed",
        transcendentals=1,
        note="meant for convolutions; dense layers keep ReLU in the paper",
    ),
    "squ": Function(
        formula="x^2 + x",
        value=squ,
        smoothness="C-inf",
        source=NOEL,
        status="survey",
        degree=2,
        note="grows like x^2: normalise before it",
    ),
    "ncu": Function(
        formula="x - x^3",
        value=ncu,
        smoothness="C-inf",
        source=NOEL,
        status="survey",
        degree=3,
        note="grows like x^3: normalise before it",
    ),
    "ssu": Function(
        formula="pi sinc(x - pi), sinc(u) = sin(u) / u",
        value=ssu,
        smoothness="C-inf",
        source=NOEL,
        status="survey",
        transcendentals=1,
    ),
    "dsu": Function(
        formula="(pi / 2) (sinc(x - pi) - sinc(x + pi))",
        value=dsu,
        smoothness="C-inf",
        source=NOEL,
        status="survey",
        transcendentals=2,
    ),
    "sine": Function(
        formula="sin(x)",
        value=torch.sin,
        smoothness="C-inf",
        source="arXiv:2209.02681",
        transcendentals=1,
    ),
    "cosine": Function(
        formula="cos(x)",
        value=torch.cos,
        smoothness="C-inf",
        source="arXiv:2209.02681",
        transcendentals=1,
    ),
    "sinc": Function(
        formula="sin(x) / x, 1 at 0",
        value=sinc,
        smoothness="C-inf",
        source="arXiv:2209.02681",
        transcendentals=1,
    ),
}
