"""The trained numbers of one activation site, kept within their ranges."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from models.activations.function import Parameter, Range


class Positive(nn.Module):
    """Keeps a number above zero: it is the softplus of what the optimiser sees."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Return log(1 + exp(raw)), of the same shape."""
        return F.softplus(raw)

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """Return what gives `value`, which must be above zero."""
        # log(exp(v) - 1) in a form that neither overflows nor cancels.
        return value + torch.log(-torch.expm1(-value))


class Unit(nn.Module):
    """Keeps a number between 0 and 1: it is the sigmoid of what the optimiser sees."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Return 1 / (1 + exp(-raw)), of the same shape."""
        return torch.sigmoid(raw)

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """Return what gives `value`, which must be above 0 and below 1."""
        return torch.logit(value)


LARGEST = torch.finfo(torch.float32).max
"""What a trained number may be."""

KEEPERS: dict[Range, Callable[[], nn.Module]] = {
    "not negative": Positive,
    "positive": Positive,
    "unit": Unit,
}


class Coefficients(nn.Module):
    """The parameters of one function that are trained, as tensors of one shape.

    A module of its own, so that all sites of a network can hold the same one.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        values: Mapping[str, float],
        *,
        shape: tuple[int, ...] = (),
    ) -> None:
        """Start the parameters at their values.

        Args:
            parameters: Those that are trained, by name.
            values: The start of each.
            shape: () for one number, (C,) for one per channel, (C, H, W) for one per pixel.
        """
        super().__init__()
        self.names = tuple(parameters)
        self.shape = shape
        for name, parameter in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.full(shape, values[name])))
            if parameter.range != "any":
                # Softplus reaches zero only at minus infinity; 1e-30 is zero to any float32 sum.
                with torch.no_grad():
                    getattr(self, name).clamp_(min=1e-30)
                parametrize.register_parametrization(self, name, KEEPERS[parameter.range]())

    def forward(self, features: torch.Tensor, *, dim: int = 1) -> dict[str, torch.Tensor]:
        """Return the numbers by name, shaped to broadcast over `features`.

        Args:
            features: (N, C, ...), or channels along `dim`.
            dim: Axis of the channels.
        """
        view = self._view(features, dim)
        return {name: getattr(self, name).view(view) for name in self.names}

    def _view(self, features: torch.Tensor, dim: int) -> tuple[int, ...]:
        if not self.shape:
            return ()
        if len(self.shape) > 1:
            return (1, *self.shape)
        view = [1] * features.ndim
        view[dim] = self.shape[0]
        return tuple(view)


def in_range(value: float, parameter: Parameter) -> bool:
    """Whether a start value is a finite float32 and within the parameter's range."""
    if not math.isfinite(value) or abs(value) > LARGEST:
        return False
    limits = {
        "any": True,
        "positive": value > 0,
        "not negative": value >= 0,
        "unit": 0 <= value < 1,
    }
    return limits[parameter.range]
