"""Functions that follow the identity above zero and an exponential or sigmoid below."""

import torch

from models.activations.function import Function, Parameter
from models.activations.sides import below

Number = torch.Tensor | float
POSITIVE = Parameter(initial=1.0, range="positive")


def swish(x: torch.Tensor, beta: Number) -> torch.Tensor:
    """x sigmoid(beta x) with trained beta (arXiv:1710.05941)."""
    return x * torch.sigmoid(beta * x)


def pelu(x: torch.Tensor, a: Number, b: Number) -> torch.Tensor:
    """Parametric ELU (arXiv:1605.09332)."""
    return a / b * torch.relu(x) + a * torch.expm1(below(x) / b)


def pdelu(x: torch.Tensor, alpha: Number, t: float) -> torch.Tensor:
    """Parametric deformable ELU, with the clamp that published code lacks."""
    low = torch.relu(1 + (1 - t) * below(x))
    return torch.relu(x) + alpha * (low ** (1 / (1 - t)) - 1)


def ptelu(x: torch.Tensor, alpha: Number, beta: Number) -> torch.Tensor:
    """Parametric tan-hyperbolic linear unit."""
    return torch.relu(x) + alpha * torch.tanh(beta * below(x))


def elish(x: torch.Tensor) -> torch.Tensor:
    """Exponential linear sigmoid squashing (arXiv:1808.00783)."""
    high, low = torch.relu(x), below(x)
    return high * torch.sigmoid(high) + torch.expm1(low) * torch.sigmoid(low)


def hard_elish(x: torch.Tensor) -> torch.Tensor:
    """As `elish`, with a clipped line for the sigmoid."""
    gate = torch.clamp((x + 1) / 2, min=0, max=1)
    return (torch.relu(x) + torch.expm1(below(x))) * gate


def lisht(x: torch.Tensor) -> torch.Tensor:
    """x tanh(x) (arXiv:1901.05894)."""
    return x * torch.tanh(x)


def tanhexp(x: torch.Tensor) -> torch.Tensor:
    """x tanh(exp(x)) (arXiv:2003.09855)."""
    # From 20 on the tanh is 1 to the last digit, and exp would overflow.
    return x * torch.tanh(torch.exp(torch.clamp(x, max=20)))


SMOOTH_RECTIFIERS: dict[str, Function] = {
    "elish": Function(
        formula="x sigmoid(x) if x >= 0 else (exp(x) - 1) sigmoid(x)",
        value=elish,
        smoothness="C1",
        source="arXiv:1808.00783",
        status="confirmed",
        transcendentals=3,
    ),
    "hard_elish": Function(
        formula="x g if x >= 0 else (exp(x) - 1) g, g = clip((x + 1) / 2, 0, 1)",
        value=hard_elish,
        smoothness="C0",
        source="arXiv:1808.00783",
        transcendentals=1,
    ),
    "lisht": Function(
        formula="x tanh(x)",
        value=lisht,
        smoothness="C-inf",
        source="arXiv:1901.05894",
        status="confirmed",
        transcendentals=1,
        note="even: the sign of x is lost",
    ),
    "pdelu": Function(
        formula="x if x > 0 else alpha (max(0, 1 + (1 - t) x)^(1 / (1 - t)) - 1)",
        value=pdelu,
        parameters={
            "alpha": Parameter(initial=1.0),
            "t": Parameter(initial=0.9, learnable=False, range="unit"),
        },
        smoothness="C1",
        source="arXiv:2109.14545",
        status="survey",
        transcendentals=1,
        note="C1 where alpha = 1",
    ),
    "pelu": Function(
        formula="(a / b) x if x >= 0 else a (exp(x / b) - 1)",
        value=pelu,
        parameters={"a": POSITIVE, "b": POSITIVE},
        smoothness="C1",
        source="arXiv:1605.09332",
        transcendentals=1,
    ),
    "ptelu": Function(
        formula="x if x >= 0 else alpha tanh(beta x)",
        value=ptelu,
        parameters={"alpha": Parameter(initial=1.0), "beta": Parameter(initial=1.0)},
        smoothness="C1",
        source="arXiv:2209.02681",
        status="survey",
        transcendentals=1,
        note="C1 where alpha beta = 1",
    ),
    "swish": Function(
        formula="x sigmoid(beta x)",
        value=swish,
        parameters={"beta": Parameter(initial=1.0)},
        smoothness="C-inf",
        source="arXiv:1710.05941",
        transcendentals=1,
    ),
    "tanhexp": Function(
        formula="x tanh(exp(x))",
        value=tanhexp,
        smoothness="C-inf",
        source="arXiv:2003.09855",
        status="confirmed",
        transcendentals=2,
    ),
}
