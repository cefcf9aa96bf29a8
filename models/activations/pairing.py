"""Functions of pairs of channels, and their rows: GLU, PyNADA, CReLU, signed geometric mean."""

import torch
from torch import nn

from models.activations.dendrites import ALPHA, LEAK, C, ada, leaky_ada
from models.activations.dendrites import SOURCE as DENDRITES
from models.activations.function import Function, Parameter
from models.activations.joining import Join, half, twice
from models.activations.logical import Parts

Number = torch.Tensor | float


def pynada(parts: Parts, alpha: Number, c: float) -> torch.Tensor:
    """Add a rectifier of the first half and an apical dendrite activation of the second.

    The layer before is made twice as wide, so that the halves are two affine maps of one input.
    """
    plain, dendrite = parts
    return torch.relu(plain) + ada(dendrite, alpha, c)


def leaky_pynada(parts: Parts, alpha: Number, c: float, leak: float) -> torch.Tensor:
    """As `pynada`, by leaky ADA."""
    plain, dendrite = parts
    return torch.relu(plain) + leaky_ada(dendrite, alpha, c, leak)


def crelu(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the positive and the negative parts as channels of their own (arXiv:1603.05201)."""
    return torch.cat((torch.relu(x), torch.relu(-x)), dim)


def signed_geomean(parts: Parts, clamp: float) -> torch.Tensor:
    """Return sign(a b) sqrt(|a b|), with a gradient that stays finite."""
    a, b = parts
    value = torch.sign(a) * torch.sign(b) * torch.sqrt(a.abs()) * torch.sqrt(b.abs())
    # What is added is 0; it only carries the slope, which is infinite at 0 and set to 0 there.
    return value.detach() + _slope(value, a, clamp) + _slope(value, b, clamp)


def _slope(value: torch.Tensor, x: torch.Tensor, clamp: float) -> torch.Tensor:
    """Return 0 with the gradient value / (2 x), within +-clamp."""
    fixed = x.detach()
    slope = torch.where(fixed == 0, 0.0, value.detach() / (2 * torch.where(fixed == 0, 1.0, fixed)))
    return torch.clamp(slope, -clamp, clamp) * (x - fixed)


PAIRING: dict[str, Function] = {
    "crelu": Function(
        formula="max(0, x), max(0, -x) as channels of their own",
        value=crelu,
        joins=True,
        width=half,
        smoothness="C0",
        source="arXiv:1603.05201",
        status="standard",
        note="doubles the channels: the layer before is half as wide",
    ),
    "glu": Function(
        formula="a sigmoid(b), b the channel half the channels further on",
        layer=lambda values, *, channels, dim: nn.GLU(dim),
        width=twice,
        smoothness="C-inf",
        source="arXiv:1612.08083",
        transcendentals=1,
        note="halves the channels: the layer before is twice as wide",
    ),
    "leaky_pynada": Function(
        formula="max(0, a) + leak min(0, b) + max(0, b) exp(-alpha b + c)",
        value=Join((("", leaky_pynada),), adjacent=False),
        joins=True,
        width=twice,
        parameters={"alpha": ALPHA, "c": C, "leak": LEAK},
        per="network",
        smoothness="C0",
        source=DENDRITES,
        status="confirmed",
        transcendentals=1,
        note="a, b: two affine maps of one input: the layer before is twice as wide",
    ),
    "pynada": Function(
        formula="max(0, a) + max(0, b) exp(-alpha b + c)",
        value=Join((("", pynada),), adjacent=False),
        joins=True,
        width=twice,
        parameters={"alpha": ALPHA, "c": C},
        per="network",
        smoothness="C0",
        source=DENDRITES,
        status="confirmed",
        transcendentals=1,
        note="a, b: two affine maps of one input: the layer before is twice as wide",
    ),
    "signed_geomean": Function(
        formula="sign(a b) sqrt(|a b|) of adjacent channels",
        value=Join((("", signed_geomean),)),
        joins=True,
        width=twice,
        parameters={"clamp": Parameter(initial=1e4, learnable=False, range="positive")},
        smoothness="C0",
        source="arXiv:2110.11940",
        status="confirmed",
        transcendentals=1,
        note="slopes stay within +-clamp (published: 2 or 10) and are 0 at exactly 0",
    ),
}
