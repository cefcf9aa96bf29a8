"""Functions that draw random numbers in training and are fixed afterwards.

Their form in training takes a `seed`, from which backward draws the same numbers again.
"""

import torch

from models.activations.function import Function, Parameter
from models.activations.noise import normal_like, uniform_like
from models.activations.sides import below

Number = torch.Tensor | float
SURVEY = "arXiv:2209.02681"


def noisy_relu(x: torch.Tensor, sigma: float, seed: torch.Tensor) -> torch.Tensor:
    """Rectifier of x plus noise (Nair and Hinton 2010)."""
    return torch.relu(x + sigma * normal_like(x, seed))


def quiet_relu(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """As `noisy_relu`, without the noise."""
    del sigma
    return torch.relu(x)


def probact(x: torch.Tensor, sigma: Number, seed: torch.Tensor) -> torch.Tensor:
    """Rectifier plus noise of trained strength (arXiv:1905.10761)."""
    return torch.relu(x) + sigma * normal_like(x, seed)


def probact_mean(x: torch.Tensor, sigma: Number) -> torch.Tensor:
    """As `probact`, its mean."""
    return torch.relu(x) + 0 * sigma


def eelu(
    x: torch.Tensor, alpha: Number, beta: Number, spread: float, seed: torch.Tensor
) -> torch.Tensor:
    """Elastic ELU: the slope above zero is drawn around 1 (doi:10.1109/ACCESS.2020.3008700)."""
    slope = torch.clamp(1 + spread * normal_like(x, seed), min=0, max=2)
    return torch.relu(x) * slope + alpha * torch.expm1(beta * below(x))


def eelu_mean(x: torch.Tensor, alpha: Number, beta: Number, spread: float) -> torch.Tensor:
    """As `eelu` with slope 1."""
    del spread
    return torch.relu(x) + alpha * torch.expm1(beta * below(x))


def rrelu(x: torch.Tensor, lower: float, upper: float, seed: torch.Tensor) -> torch.Tensor:
    """Leaky rectifier with a random slope below zero (arXiv:1505.00853)."""
    slope = lower + (upper - lower) * uniform_like(x, seed)
    return torch.relu(x) + below(x) * slope


def rrelu_mean(x: torch.Tensor, lower: float, upper: float) -> torch.Tensor:
    """As `rrelu` with the mean slope."""
    return torch.relu(x) + (lower + upper) / 2 * below(x)


STOCHASTIC: dict[str, Function] = {
    "eelu": Function(
        formula="k x if x > 0 else alpha (exp(beta x) - 1), k drawn around 1 in training",
        value=eelu_mean,
        in_training=eelu,
        parameters={
            "alpha": Parameter(initial=1.0, range="positive"),
            "beta": Parameter(initial=1.0, range="positive"),
            "spread": Parameter(initial=0.1, learnable=False, range="not negative"),
        },
        smoothness="C1",
        source="doi:10.1109/ACCESS.2020.3008700",
        status="assumed",
        transcendentals=3,
        note="start values and spread assumed; C1 where alpha beta = 1",
    ),
    "noisy_relu": Function(
        formula="max(0, x + sigma e), e ~ N(0, 1) in training, 0 after",
        value=quiet_relu,
        in_training=noisy_relu,
        parameters={"sigma": Parameter(initial=0.1, learnable=False, range="not negative")},
        smoothness="C0",
        source=SURVEY,
        status="assumed",
        transcendentals=2,
        note="strength of the noise assumed",
    ),
    "probact": Function(
        formula="max(0, x) + sigma e, e ~ N(0, 1) in training, 0 after",
        value=probact_mean,
        in_training=probact,
        parameters={"sigma": Parameter(initial=0.1)},
        smoothness="C0",
        source="arXiv:1905.10761",
        status="survey",
        transcendentals=2,
        note="start value assumed; after training its mean is used",
    ),
    "rrelu": Function(
        formula="x if x > 0 else a x, a drawn from [lower, upper] in training, their mean after",
        value=rrelu_mean,
        in_training=rrelu,
        parameters={
            "lower": Parameter(initial=1 / 8, learnable=False),
            "upper": Parameter(initial=1 / 3, learnable=False),
        },
        smoothness="C0",
        source="arXiv:1505.00853",
        note="torch's module keeps every slope that it draws; this one draws them again",
    ),
}
