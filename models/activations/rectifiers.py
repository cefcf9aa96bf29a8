"""Rectifiers: identity or nearly so above zero, bent below."""

import torch

from models.activations.function import Function, Parameter
from models.activations.sides import below


def pfplus(x: torch.Tensor, lam: torch.Tensor | float, mu: torch.Tensor | float) -> torch.Tensor:
    """First power linear unit with sign, slope lam and decay mu (Duan 2021, arXiv:2111.14349)."""
    # x / (1 - mu x) has its pole above zero, on the side that is not taken.
    low = below(x)
    return lam * (torch.relu(x) + low / (1 - mu * low))


def colu(x: torch.Tensor) -> torch.Tensor:
    """Collapsing linear unit (Vagerwal 2021, arXiv:2112.12078).

    x / (1 - x exp(-(x + exp(x)))) in a form for each side that stays finite with its derivative.
    """
    low = below(x)
    shrunk = torch.exp(low + torch.exp(low))
    left = low * shrunk / (shrunk - low)
    # Beyond 6 the function is x to the last digit of float64.
    near = torch.clamp(x, min=0, max=6)
    right = torch.relu(x) / (1 - near * torch.exp(-(near + torch.exp(near))))
    return torch.where(x > 0, right, left)


RECTIFIERS: dict[str, Function] = {
    "fplus": Function(
        formula="x if x >= 0 else x / (1 - x)",
        value=pfplus,
        parameters={
            "lam": Parameter(initial=1.0, learnable=False),
            "mu": Parameter(initial=1.0, learnable=False, range="not negative"),
        },
        smoothness="C1",
        source="arXiv:2111.14349",
        status="confirmed",
    ),
    "pfplus": Function(
        formula="lam x if x >= 0 else lam x / (1 - mu x)",
        value=pfplus,
        parameters={
            "lam": Parameter(initial=1.0),
            "mu": Parameter(initial=1.0, range="not negative"),
        },
        smoothness="C1",
        source="arXiv:2111.14349",
        status="confirmed",
    ),
    "colu": Function(
        formula="x / (1 - x exp(-(x + exp(x))))",
        value=colu,
        smoothness="C-inf",
        source="arXiv:2112.12078",
        status="confirmed",
        transcendentals=2,
    ),
}
