"""The functions that torch has, as torch's own modules, under the names of the literature."""

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from models.activations.function import Function, Parameter, native

TORCH = "torch"
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


class PReLU(nn.PReLU):
    """Torch's PReLU, which takes half precision beside slopes in float32."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return values of the same shape and type."""
        return F.prelu(features, self.weight.to(features.dtype))


class Softmax(nn.Module):
    """Softmax over the channels that keeps the memory layout of images."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return values of the same shape, 1 in sum over the channels."""
        last = features.movedim(self.dim, -1)
        if last.is_contiguous():
            return torch.softmax(last, -1).movedim(-1, self.dim)
        return torch.softmax(features, self.dim)


class OnAxis(nn.Module):
    """Runs a layer that expects channels at axis 1 where they are at another."""

    def __init__(self, layer: nn.Module, dim: int) -> None:
        super().__init__()
        self.layer = layer
        self.dim = dim

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return values of the same shape."""
        result: torch.Tensor = self.layer(features.movedim(self.dim, 1)).movedim(1, self.dim)
        return result


def prelu(values: Mapping[str, float | int | str], *, channels: int | None, dim: int) -> nn.Module:
    """Return torch's PReLU with one slope, or one per channel."""
    layer = PReLU(num_parameters=channels or 1, init=float(values["a"]))
    return layer if dim == 1 or channels is None else OnAxis(layer, dim)


def logsigmoid(x: torch.Tensor) -> torch.Tensor:
    """-log(1 + exp(-x)); torch's own keeps two tensors and loses the memory layout."""
    return -F.softplus(-x, threshold=40)


def hardsigmoid(x: torch.Tensor) -> torch.Tensor:
    """Clipped line; torch's own has its slope of 1 / 6 in single precision only."""
    return torch.clamp(x + 3, min=0, max=6) / 6


def selu(values: Mapping[str, float | int | str], *, channels: int | None, dim: int) -> nn.Module:
    """Return torch's SELU.

    Raises:
        ValueError: If a constant is not the published one, to nine digits.
    """
    del channels, dim
    for name, constant in (("scale", SELU_SCALE), ("alpha", SELU_ALPHA)):
        if not math.isclose(float(values[name]), constant, rel_tol=1e-8):
            raise ValueError(f"{name} is fixed at {constant}: another value does not normalise")
    return nn.SELU()


def fixed(initial: float) -> Parameter:
    """Return a number that is not trained."""
    return Parameter(initial=initial, learnable=False)


STANDARD: dict[str, Function] = {
    "celu": Function(
        formula="max(0, x) + min(0, alpha (exp(x / alpha) - 1))",
        layer=native(nn.CELU),
        parameters={"alpha": Parameter(initial=1.0, learnable=False, range="positive")},
        smoothness="C1",
        source=TORCH,
        transcendentals=1,
    ),
    "elu": Function(
        formula="x if x > 0 else alpha (exp(x) - 1)",
        layer=native(nn.ELU),
        parameters={"alpha": fixed(1.0)},
        smoothness="C1",
        source=TORCH,
        transcendentals=1,
    ),
    "gelu": Function(
        formula="x Phi(x)",
        layer=native(nn.GELU),
        smoothness="C-inf",
        source=TORCH,
        transcendentals=1,
    ),
    "gelu_tanh": Function(
        formula="0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))",
        layer=lambda values, *, channels, dim: nn.GELU(approximate="tanh"),
        smoothness="C-inf",
        source=TORCH,
        transcendentals=1,
        degree=3,
    ),
    "hardshrink": Function(
        formula="x if |x| > lambd else 0",
        layer=native(nn.Hardshrink),
        parameters={"lambd": fixed(0.5)},
        smoothness="none",
        source=TORCH,
    ),
    "hardsigmoid": Function(
        formula="min(max(x + 3, 0), 6) / 6",
        value=hardsigmoid,
        smoothness="C0",
        source=TORCH,
    ),
    "hardswish": Function(
        formula="x min(max(x + 3, 0), 6) / 6",
        layer=native(nn.Hardswish),
        smoothness="C0",
        source=TORCH,
    ),
    "hardtanh": Function(
        formula="min(max(x, -1), 1)",
        layer=native(nn.Hardtanh),
        smoothness="C0",
        source=TORCH,
    ),
    "identity": Function(formula="x", layer=native(nn.Identity), smoothness="C-inf", source=TORCH),
    "leaky_relu": Function(
        formula="x if x > 0 else slope x",
        layer=native(nn.LeakyReLU, slope="negative_slope"),
        parameters={"slope": fixed(0.01)},
        smoothness="C0",
        source=TORCH,
    ),
    "logsigmoid": Function(
        formula="-log(1 + exp(-x))",
        value=logsigmoid,
        smoothness="C-inf",
        source=TORCH,
        transcendentals=2,
    ),
    "mish": Function(
        formula="x tanh(log(1 + exp(x)))",
        layer=native(nn.Mish),
        smoothness="C-inf",
        source="arXiv:1908.08681",
        transcendentals=3,
    ),
    "prelu": Function(
        formula="x if x > 0 else a x",
        layer=prelu,
        parameters={"a": Parameter(initial=0.25)},
        smoothness="C0",
        source="arXiv:1502.01852",
    ),
    "relu": Function(formula="max(0, x)", layer=native(nn.ReLU), smoothness="C0", source=TORCH),
    "relu6": Function(
        formula="min(max(0, x), 6)", layer=native(nn.ReLU6), smoothness="C0", source=TORCH
    ),
    "selu": Function(
        formula="scale (x if x > 0 else alpha (exp(x) - 1))",
        layer=selu,
        parameters={"scale": fixed(SELU_SCALE), "alpha": fixed(SELU_ALPHA)},
        smoothness="C0",
        source="arXiv:1706.02515",
        transcendentals=1,
    ),
    "softmax": Function(
        formula="exp(x) / sum of exp(x) over the channels",
        layer=lambda values, *, channels, dim: Softmax(dim),
        smoothness="C-inf",
        source="arXiv:2209.02681",
        transcendentals=1,
        note="looks at all channels of a pixel",
    ),
    "sigmoid": Function(
        formula="1 / (1 + exp(-x))",
        layer=native(nn.Sigmoid),
        smoothness="C-inf",
        source=TORCH,
        transcendentals=1,
    ),
    "silu": Function(
        formula="x sigmoid(x)",
        layer=native(nn.SiLU),
        smoothness="C-inf",
        source="arXiv:1702.03118",
        transcendentals=1,
    ),
    "softplus": Function(
        formula="log(1 + exp(beta x)) / beta",
        layer=native(nn.Softplus),
        parameters={"beta": Parameter(initial=1.0, learnable=False, range="positive")},
        smoothness="C-inf",
        source=TORCH,
        transcendentals=2,
    ),
    "softshrink": Function(
        formula="x - lambd if x > lambd else x + lambd if x < -lambd else 0",
        layer=native(nn.Softshrink),
        parameters={"lambd": Parameter(initial=0.5, learnable=False, range="not negative")},
        smoothness="C0",
        source=TORCH,
    ),
    "softsign": Function(formula="x / (1 + |x|)", value=F.softsign, smoothness="C1", source=TORCH),
    "tanh": Function(
        formula="tanh(x)",
        layer=native(nn.Tanh),
        smoothness="C-inf",
        source=TORCH,
        transcendentals=1,
    ),
    "tanhshrink": Function(
        formula="x - tanh(x)",
        value=F.tanhshrink,
        smoothness="C-inf",
        source=TORCH,
        transcendentals=1,
    ),
}
