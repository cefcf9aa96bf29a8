"""Functions that stretch a base function by a trained slope, add waves to it, or blend several.

Jagtap, Kawaguchi and Karniadakis: GAAF (J. Comput. Phys. 404:109136), LAAF (arXiv:1909.12228),
Rowdy (arXiv:2105.09513); Suetfeld et al.: ABU (arXiv:1806.10064).
"""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from models.activations.function import Count, Function, Parameter

Number = torch.Tensor | float
LAAF = "arXiv:1909.12228"

BASES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "sin": torch.sin,
    "cos": torch.cos,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
}


def laaf(x: torch.Tensor, base: str, n: float, a: Number, recovery: float = 0.0) -> torch.Tensor:
    """base(n a x); `recovery` weighs a term of the loss and changes no value."""
    del recovery
    return BASES[base](x * (n * a))


def rowdy(x: torch.Tensor, base: str, n: float, a: Number, **terms: Number) -> torch.Tensor:
    """base(n a x) + sum over k of n a_k sin(k n w_k x)."""
    total = BASES[base](x * (n * a))
    for k in range(1, len(terms) // 2 + 1):
        total = total + n * terms[f"a{k}"] * torch.sin(x * (k * n * terms[f"w{k}"]))
    return total


def waves(count: int) -> dict[str, Parameter]:
    """Return amplitude and frequency of each sine of a Rowdy function."""
    parameters: dict[str, Parameter] = {}
    for k in range(1, count + 1):
        parameters[f"a{k}"] = Parameter(initial=0.0)
        parameters[f"w{k}"] = Parameter(initial=0.1, inverse_of="n")
    return parameters


def abu(
    x: torch.Tensor,
    *,
    w_tanh: Number,
    w_elu: Number,
    w_relu: Number,
    w_id: Number,
    w_swish: Number,
) -> torch.Tensor:
    """Trained blend of five functions."""
    curved = w_tanh * torch.tanh(x) + w_swish * x * torch.sigmoid(x)
    return curved + w_elu * F.elu(x) + w_relu * torch.relu(x) + w_id * x


A = Parameter(initial=0.1, inverse_of="n")
SLOPE = {"n": Parameter(initial=1.0, learnable=False, range="positive"), "a": A}
BASE = {"base": tuple(BASES)}

ADAPTIVE: dict[str, Function] = {
    "abu": Function(
        formula="w_tanh tanh(x) + w_elu elu(x) + w_relu relu(x) + w_id x + w_swish x sigmoid(x)",
        value=abu,
        parameters={
            f"w_{member}": Parameter(initial=0.2)
            for member in ("tanh", "elu", "relu", "id", "swish")
        },
        smoothness="C0",
        source="arXiv:1806.10064",
        status="assumed",
        transcendentals=3,
        note="members and start weights assumed",
    ),
    "gaaf": Function(
        formula="base(n a x), one a for the network, n a = 1 at the start",
        value=laaf,
        parameters=SLOPE,
        words=BASE,
        per="network",
        smoothness="C-inf",
        source="doi:10.1016/j.jcp.2019.109136",
        status="confirmed",
        transcendentals=1,
        note="smoothness and cost are those of the base",
    ),
    "laaf": Function(
        formula="base(n a x)",
        value=laaf,
        parameters=SLOPE,
        words=BASE,
        smoothness="C-inf",
        source=LAAF,
        status="confirmed",
        transcendentals=1,
        note="without slope recovery; l_laaf and n_laaf have it",
    ),
    "l_laaf": Function(
        formula="base(n a_k x), one a per layer, with slope recovery in the loss",
        value=laaf,
        parameters={**SLOPE, "recovery": Parameter(initial=1.0, learnable=False)},
        words=BASE,
        smoothness="C-inf",
        source=LAAF,
        status="confirmed",
        transcendentals=1,
        slope_recovery=True,
        note="`recovery` weighs the slope-recovery term",
    ),
    "n_laaf": Function(
        formula="base(n a_ki x), one a per neuron, with slope recovery in the loss",
        value=laaf,
        parameters={**SLOPE, "recovery": Parameter(initial=1.0, learnable=False)},
        words=BASE,
        per="pixel",
        smoothness="C-inf",
        source=LAAF,
        status="confirmed",
        transcendentals=1,
        slope_recovery=True,
        note="one number per pixel and channel fixes the image size; `per: channel` does not",
    ),
    "rowdy": Function(
        formula="base(n a x) + sum over k of n a_k sin(k n w_k x)",
        value=rowdy,
        parameters={"n": Parameter(initial=10.0, learnable=False, range="positive"), "a": A},
        series=waves,
        counts={"terms": Count(usual=9, low=1, high=16)},
        words=BASE,
        smoothness="C-inf",
        source="arXiv:2105.09513",
        status="confirmed",
        transcendentals=10,
        note="with n = 10 the authors train at a rate of 4e-6: steep waves; starts as its base",
    ),
}
