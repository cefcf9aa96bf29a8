"""Drawing weights with a given variance."""

import math
from collections.abc import Callable

import torch
from torch import nn

from models.autoinit.options import Distribution
from models.autoinit.plan import Draw

CUT = 2.0
"""Deviations at which the truncated normal distribution ends."""
LEFT = 0.87962566
"""Deviation of a standard-normal number that is cut there."""


def draw_weights(draw: Draw, distribution: Distribution) -> None:
    """Draw weights in place from torch's generator, and set their bias to zero."""
    DISTRIBUTIONS[distribution](draw.weight, math.sqrt(draw.variance))
    if draw.bias is not None:
        nn.init.zeros_(draw.bias)


def truncated_normal(weight: torch.Tensor, deviation: float) -> None:
    """Widened, so that what is left after the cut has the deviation."""
    wide = deviation / LEFT
    nn.init.trunc_normal_(weight, std=wide, a=-CUT * wide, b=CUT * wide)


def normal(weight: torch.Tensor, deviation: float) -> None:
    """Without a cut."""
    nn.init.normal_(weight, std=deviation)


def uniform(weight: torch.Tensor, deviation: float) -> None:
    """Over an interval around zero."""
    nn.init.uniform_(weight, -math.sqrt(3) * deviation, math.sqrt(3) * deviation)


def orthogonal(weight: torch.Tensor, deviation: float) -> None:
    """Orthonormal rows times a gain; columns, where there are more outputs than inputs.

    The gain sqrt(scale) of the paper's code gives the deviation to rows alone: for columns it
    takes sqrt(outputs / inputs) more.
    """
    outputs, inputs = weight.shape[0], weight[0].numel()
    nn.init.orthogonal_(weight, gain=deviation * math.sqrt(max(outputs, inputs)))


DISTRIBUTIONS: dict[Distribution, Callable[[torch.Tensor, float], None]] = {
    "normal": normal,
    "orthogonal": orthogonal,
    "truncated_normal": truncated_normal,
    "uniform": uniform,
}
