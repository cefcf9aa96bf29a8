"""Functions that level off on both sides, or fall back to zero."""

import torch

from models.activations.function import Function, Parameter
from models.activations.sides import below
from models.activations.standard import fixed

CUSTOM = "arXiv:2112.09442"
SURVEY = "arXiv:2209.02681"
Number = torch.Tensor | float


def bipolar_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """(1 - exp(-x)) / (1 + exp(-x)), which is tanh(x / 2)."""
    return torch.tanh(x / 2)


def scaled_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Sigmoid with slope 1 at 0, odd (Xu et al. 2016, arXiv:1602.05980)."""
    return 4 * torch.sigmoid(x) - 2


def scaled_tanh(x: torch.Tensor, A: float, B: float) -> torch.Tensor:  # noqa: N803
    """Tanh stretched both ways; 1.7159 and 2/3 are LeCun's."""
    return A * torch.tanh(B * x)


def elliott(x: torch.Tensor) -> torch.Tensor:
    """Sigmoid without an exponential, in the form of arXiv:2109.14545."""
    return 0.5 * x / (1 + x.abs()) + 0.5


def asigmoid(x: torch.Tensor, a: Number, b: Number, c: Number, d: Number) -> torch.Tensor:
    """Sigmoid with trained slope, height and offsets (arXiv:2112.09442)."""
    return b * torch.sigmoid(a * x + c) + d


def atanh(x: torch.Tensor, a: Number, b: Number, c: Number, d: Number) -> torch.Tensor:
    """Adaptive tanh (arXiv:2112.09442); not the inverse hyperbolic tangent."""
    return b * torch.tanh(a * x + c) + d


def hexpo(x: torch.Tensor, a: float, b: float, c: float, d: float) -> torch.Tensor:
    """Two exponentials joined at 0, as quoted by arXiv:2209.02681."""
    high, low = torch.relu(x), below(x)
    return c * torch.expm1(low / d) - a * torch.expm1(-high / b)


def step(x: torch.Tensor) -> torch.Tensor:
    """1 above 0, else 0; its slope is 0 everywhere, so that nothing before it learns."""
    return (x > 0).to(x.dtype) + 0 * x


def gaussian(x: torch.Tensor) -> torch.Tensor:
    """exp(-x^2), the radial function."""
    return torch.exp(-x * x)


def ricker(x: torch.Tensor) -> torch.Tensor:
    """(1 - x^2) exp(-x^2 / 2), the Mexican hat."""
    # At 40 the exponential is 0 in float64; further out x^2 would be infinite times 0.
    near = torch.clamp(x, min=-40, max=40)
    square = near * near
    return (1 - square) * torch.exp(-square / 2)


def morlet(x: torch.Tensor) -> torch.Tensor:
    """cos(1.75 x) exp(-x^2 / 2)."""
    near = torch.clamp(x, min=-40, max=40)
    return torch.cos(1.75 * near) * torch.exp(-near * near / 2)


FOUR = {
    "a": Parameter(initial=1.0),
    "b": Parameter(initial=1.0),
    "c": Parameter(initial=0.0),
    "d": Parameter(initial=0.0),
}

SATURATING: dict[str, Function] = {
    "asigmoid": Function(
        formula="b sigmoid(a x + c) + d",
        value=asigmoid,
        parameters=FOUR,
        smoothness="C-inf",
        source=CUSTOM,
        status="confirmed",
        transcendentals=1,
    ),
    "atanh": Function(
        formula="b tanh(a x + c) + d",
        value=atanh,
        parameters=FOUR,
        smoothness="C-inf",
        source=CUSTOM,
        status="confirmed",
        transcendentals=1,
        note="the adaptive tanh, not the inverse hyperbolic tangent",
    ),
    "bipolar_sigmoid": Function(
        formula="(1 - exp(-x)) / (1 + exp(-x))",
        value=bipolar_sigmoid,
        smoothness="C-inf",
        source=SURVEY,
        transcendentals=1,
    ),
    "elliott": Function(
        formula="0.5 x / (1 + |x|) + 0.5",
        value=elliott,
        smoothness="C1",
        source="arXiv:2109.14545",
        status="confirmed",
    ),
    "gaussian": Function(
        formula="exp(-x^2)",
        value=gaussian,
        smoothness="C-inf",
        source=SURVEY,
        transcendentals=1,
    ),
    "hexpo": Function(
        formula="-a (exp(-x / b) - 1) if x >= 0 else c (exp(x / d) - 1)",
        value=hexpo,
        parameters={
            "a": fixed(1.0),
            "b": Parameter(initial=1.0, learnable=False, range="positive"),
            "c": fixed(1.0),
            "d": Parameter(initial=1.0, learnable=False, range="positive"),
        },
        smoothness="C1",
        source=SURVEY,
        transcendentals=2,
        note="C1 only where a / b = c / d",
    ),
    "morlet": Function(
        formula="cos(1.75 x) exp(-x^2 / 2)",
        value=morlet,
        smoothness="C-inf",
        source=SURVEY,
        status="assumed",
        transcendentals=2,
        note="the survey names wavelets without a formula; this is the common one",
    ),
    "ricker": Function(
        formula="(1 - x^2) exp(-x^2 / 2)",
        value=ricker,
        smoothness="C-inf",
        source=SURVEY,
        status="assumed",
        transcendentals=1,
        note="the survey names wavelets without a formula; this is the Mexican hat",
    ),
    "scaled_sigmoid": Function(
        formula="4 sigmoid(x) - 2",
        value=scaled_sigmoid,
        smoothness="C-inf",
        source="arXiv:1602.05980",
        status="survey",
        transcendentals=1,
    ),
    "scaled_tanh": Function(
        formula="A tanh(B x)",
        value=scaled_tanh,
        parameters={"A": fixed(1.7159), "B": fixed(2 / 3)},
        smoothness="C-inf",
        source=SURVEY,
        transcendentals=1,
    ),
    "step": Function(
        formula="1 if x > 0 else 0",
        value=step,
        smoothness="none",
        source=SURVEY,
        note="its slope is 0: layers before it do not learn",
    ),
}
