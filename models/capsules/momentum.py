"""A residual net with momentum, whose backward pass computes activations again from the output.

    v' = gamma v + (1 - gamma) f(x)        x' = x + v'        v = 0 before the first step

can be turned round, so that nothing between input and output is stored (Sander, Ablin, Blondel and
Peyre 2021, arXiv:2102.07870). Dividing by gamma amplifies rounding with every step: measured over
20 steps of tanh in single precision, 6e-6 at gamma = 0.9, and 0.45 at 0.5.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from damagenet.errors import ConfigError

EXACT_GAMMA = 0.9
EXACT_STEPS = 20
"""In single precision gradients are good from this gamma on, and over so many steps."""
RANDOM_OR_CHANGING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)
"""Layers that say something else when they are asked again."""


class MomentumNet(nn.Module):
    """Layers that each add to a velocity, which adds to what goes through."""

    def __init__(self, layers: Sequence[nn.Module], *, gamma: float, reversible: bool) -> None:
        """Take the layers, one of each step.

        Args:
            layers: Each returns a tensor of the shape that it is given.
            gamma: Share of the velocity that stays; 0 is the plain residual net.
            reversible: Whether the backward pass computes activations again instead of storing
                them.

        Raises:
            ConfigError: If gamma is outside 0..1, or is 0 or a layer draws numbers or keeps
                statistics where the net shall be reversible.
        """
        super().__init__()
        check_gamma(gamma, reversible=reversible)
        for part in (part for layer in layers for part in layer.modules()):
            if reversible and isinstance(part, RANDOM_OR_CHANGING):
                raise ConfigError(
                    f"a reversible net computes its layers again, and {type(part).__name__} would "
                    "then say something else: leave it out, or set reversible to false"
                )
        self.layers = nn.ModuleList(layers)
        self.gamma = gamma
        self.reversible = reversible

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """Return what leaves the last step, of the shape that entered.

        Raises:
            ConfigError: If a layer changes the shape.
        """
        if self.reversible and torch.is_grad_enabled():
            result: torch.Tensor = _Reversible.apply(
                state, self.gamma, [*self.layers], *self.layers.parameters()
            )
            return result
        return _run(state, self.gamma, [*self.layers])[0]


def check_gamma(gamma: float, *, reversible: bool) -> None:
    """Raise ConfigError if gamma is outside 0..1, or 0 where the net shall be reversible."""
    if not 0 <= gamma <= 1 or (reversible and gamma == 0):
        low = "above 0" if reversible else "at least 0"
        end = ", or set reversible to false for a plain residual net" if gamma == 0 else ""
        raise ConfigError(f"gamma must be {low} and at most 1, got {gamma}{end}")


def _run(
    state: torch.Tensor, gamma: float, layers: Sequence[nn.Module]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return state and velocity after all steps."""
    velocity = torch.zeros_like(state)
    for number, layer in enumerate(layers, start=1):
        change = layer(state)
        if change.shape != state.shape:
            raise ConfigError(
                f"step {number} of a momentum net makes {tuple(change.shape)} of "
                f"{tuple(state.shape)}: its layers must keep the shape"
            )
        velocity = gamma * velocity + (1 - gamma) * change
        state = state + velocity
    return state, velocity


class _Reversible(torch.autograd.Function):
    """Runs all steps and keeps the last state and velocity alone."""

    @staticmethod
    def forward(
        ctx: Any,  # Any: torch gives contexts no type
        state: torch.Tensor,
        gamma: float,
        layers: Sequence[nn.Module],
        *parameters: nn.Parameter,
    ) -> torch.Tensor:
        """Return the last state; the parameters are given so that torch asks their gradients."""
        ctx.gamma, ctx.layers, ctx.parameters = gamma, layers, parameters
        state, velocity = _run(state, gamma, layers)
        ctx.save_for_backward(state, velocity)
        return state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of state and parameters, walking the steps backwards."""
        gamma: float = ctx.gamma
        state, velocity = ctx.saved_tensors
        of_state, of_velocity = gradient, torch.zeros_like(gradient)
        found: dict[int, torch.Tensor] = {}
        for layer in reversed(ctx.layers):
            state = (state - velocity).detach().requires_grad_()
            learned = [each for each in layer.parameters() if each.requires_grad]
            with torch.enable_grad():
                change = layer(state)
            both = of_state + of_velocity
            pulled, *own = torch.autograd.grad(change, (state, *learned), (1 - gamma) * both)
            for parameter, each in zip(learned, own, strict=True):
                before = found.get(id(parameter))
                found[id(parameter)] = each if before is None else before + each
            of_state, of_velocity = of_state + pulled, gamma * both
            state = state.detach()
            velocity = (velocity - (1 - gamma) * change.detach()) / gamma
        return (of_state, None, None, *(found.get(id(each)) for each in ctx.parameters))
