"""Quotients: of polynomials, and of x and an exponential."""

import torch

from models.activations.function import Function, Parameter
from models.activations.sides import below

Number = torch.Tensor | float


def pau(
    x: torch.Tensor,
    *,
    a0: Number,
    a1: Number,
    a2: Number,
    a3: Number,
    a4: Number,
    a5: Number,
    b1: Number,
    b2: Number,
    b3: Number,
    b4: Number,
) -> torch.Tensor:
    """Padé activation unit of degrees 5 and 4 (arXiv:1907.06732).

    P(x) / Q(x) as it stands within |x| <= 1, and divided by |x|^4 above and below further out,
    so that no power overflows.
    """
    size = x.abs()
    # The branch that is not taken computes with 0, or 1, and stays finite.
    near = torch.where(size <= 1, x, 0.0)
    inner = torch.where(size <= 1, size, 0.0)
    far = torch.where(size <= 1, 1.0, size)
    # In t = 1 / |x| the far polynomials have their coefficients in the other order.
    t = 1 / far
    # In the type of x: a bare 1.0 would round the coefficients of float64 to float32.
    sign = torch.where(x < 0, -1.0, 1.0).to(x.dtype)
    top = a0 + near * (a1 + near * (a2 + near * (a3 + near * (a4 + near * a5))))
    c1, c2, c3, c4 = (_size(b) for b in (b1, b2, b3, b4))
    bottom = 1 + inner * (c1 + inner * (c2 + inner * (c3 + inner * c4)))
    top_far = a4 + sign * (a5 * far + t * (a3 + t * (sign * a2 + t * (a1 + t * sign * a0))))
    bottom_far = c4 + t * (c3 + t * (c2 + t * (c1 + t)))
    return torch.where(size <= 1, top / bottom, top_far / bottom_far)


def _size(number: Number) -> Number:
    return number.abs() if isinstance(number, torch.Tensor) else abs(number)


def srs(x: torch.Tensor, alpha: Number, beta: Number) -> torch.Tensor:
    """Soft root sign, x / (x / alpha + exp(-x / beta)) (arXiv:2003.00547)."""
    high, low = torch.relu(x), below(x)
    # Below zero the exponential overflows; there the quotient is taken times exp(x / beta).
    shrunk = low * torch.exp(low / beta)
    return high / (high / alpha + torch.exp(-high / beta)) + shrunk / (shrunk / alpha + 1)


PADE = {
    "a0": 0.0335583603,
    "a1": 0.505000375,
    "a2": 1.65343934,
    "a3": 2.01001052,
    "a4": 0.931901999,
    "a5": 0.152424124,
    "b1": 3.30847488e-06,
    "b2": 3.98021568,
    "b3": 5.12471206e-07,
    "b4": 0.301830109,
}
"""The fit to leaky ReLU that the authors start from."""

RATIONAL: dict[str, Function] = {
    "pau": Function(
        formula="(a0 + a1 x + ... + a5 x^5) / (1 + |b1| |x| + ... + |b4| |x|^4)",
        value=pau,
        parameters={name: Parameter(initial=start) for name, start in PADE.items()},
        smoothness="C0",
        source="arXiv:1907.06732",
        status="confirmed",
        note="starts as a fit to leaky ReLU",
    ),
    "srs": Function(
        formula="x / (x / alpha + exp(-x / beta))",
        value=srs,
        parameters={
            "alpha": Parameter(initial=5.0, range="positive"),
            "beta": Parameter(initial=3.0, range="positive"),
        },
        smoothness="C-inf",
        source="arXiv:2003.00547",
        status="confirmed",
        transcendentals=1,
        note="needs beta < e alpha, else it has a pole below zero",
    ),
}
