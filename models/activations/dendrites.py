"""Functions after the apical dendrites of human neurons (Georgescu et al., arXiv:2003.03229)."""

import torch

from models.activations.function import Function, Parameter
from models.activations.sides import below

SOURCE = "arXiv:2003.03229"


def ada(x: torch.Tensor, alpha: torch.Tensor | float, c: float) -> torch.Tensor:
    """Apical dendrite activation: one hump, falling to zero again."""
    # exp(-alpha x) of a very negative x is infinite, and 0 times infinite is NaN.
    high = torch.relu(x)
    return high * torch.exp(c - alpha * high)


def leaky_ada(x: torch.Tensor, alpha: torch.Tensor | float, c: float, leak: float) -> torch.Tensor:
    """As `ada`, with a small slope below zero."""
    return leak * below(x) + ada(x, alpha, c)


ALPHA = Parameter(initial=0.5, range="positive")
C = Parameter(initial=0.0, learnable=False)
LEAK = Parameter(initial=0.01, learnable=False)

DENDRITES: dict[str, Function] = {
    "ada": Function(
        formula="max(0, x) exp(-alpha x + c)",
        value=ada,
        parameters={"alpha": ALPHA, "c": C},
        per="network",
        smoothness="C0",
        source=SOURCE,
        status="confirmed",
        transcendentals=1,
        note="one alpha for the whole network; `learnable: false` fixes it",
    ),
    "leaky_ada": Function(
        formula="leak min(0, x) + max(0, x) exp(-alpha x + c)",
        value=leaky_ada,
        parameters={"alpha": ALPHA, "c": C, "leak": LEAK},
        per="network",
        smoothness="C0",
        source=SOURCE,
        status="confirmed",
        transcendentals=1,
    ),
}
