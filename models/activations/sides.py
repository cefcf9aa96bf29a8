"""The part of x below zero, with the slope that functions of two branches need at zero."""

import torch


def below(x: torch.Tensor) -> torch.Tensor:
    """Return min(x, 0), whose slope at 0 is 1: a function is what its left branch says there.

    Together with `torch.relu`, whose slope at 0 is 0, the two add up to x with slope 1.
    """
    return torch.where(x > 0, 0.0, x)
