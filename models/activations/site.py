"""The place of an activation inside a network.

Networks do not name functions: they take an `ActivationMaker` and call it at every site with the
number of channels there, so that each site owns its parameters and can have one per channel.
"""

from collections.abc import Callable

import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models.activations.table import activation_parameters, build_activation

PER = ("layer", "channel")
CHANNEL_PARAMETERS = ("num_parameters",)
"""Names under which functions take the number of their per-channel parameters."""


class Activation(nn.Module):
    """One activation site; optimisers find the parameters of activations by this class."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Apply the function to (N, C, ...)."""
        result: torch.Tensor = self.function(features)
        return result


ActivationMaker = Callable[[int], Activation]
"""Takes the number of channels at a site and returns a fresh activation for it."""


def activation_maker(choice: Choice) -> ActivationMaker:
    """Return a maker of fresh activations for the sites of one network.

    Beside the function's own parameters, `per: channel` gives every channel its own learnable
    parameters and `per: layer` (the default) shares them within a site.

    Raises:
        ConfigError: If the name, a parameter or `per` is unknown, or a value cannot be used.
    """
    parameters = dict(choice.parameters)
    per = parameters.pop("per", "layer")
    if per not in PER:
        raise ConfigError(f"activation parameter per: choose one of {', '.join(PER)}, got {per!r}")
    counted = [name for name in activation_parameters(choice.name) if name in CHANNEL_PARAMETERS]
    if per == "channel" and not counted:
        raise ConfigError(f"activation {choice.name!r} has no parameters per channel")
    build_activation(choice.name, **parameters)

    def make(channels: int) -> Activation:
        own = dict.fromkeys(counted, channels) if per == "channel" else {}
        return Activation(build_activation(choice.name, **(parameters | own)))

    return make
