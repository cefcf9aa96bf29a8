"""The place of an activation inside a network.

Networks do not name functions: they take an `ActivationMaker` and call it at every site with the
number of channels there, so that each site owns its parameters and can have one per channel.
"""

from collections.abc import Sequence

import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models.activations.build import Setting, coefficients, make_layer, settle
from models.activations.coefficients import Coefficients


class Activation(nn.Module):
    """One activation site; optimisers find the parameters of activations by this class."""

    def __init__(self, function: nn.Module, *, setting: Setting | None = None) -> None:
        """Hold a function.

        Args:
            function: The layer.
            setting: Where it came from.
        """
        super().__init__()
        self.function = function
        self.setting = setting

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Apply the function to (N, C, ...)."""
        result: torch.Tensor = self.function(features)
        return result


class ActivationMaker:
    """Makes fresh activations for the sites of one network."""

    def __init__(self, choice: Choice, *, shapes: Sequence[tuple[int, ...]] = ()) -> None:
        """Settle what is asked.

        Args:
            choice: Name and parameters, with `per` and `learnable`.
            shapes: For one parameter per pixel: (C, H, W) at every site, in the order of making.

        Raises:
            ConfigError: If the name or a parameter is unknown, or a value cannot be used.
        """
        self.setting = settle(choice.name, choice.parameters)
        self.shapes = tuple(shapes)
        self.made = 0
        self._shared: Coefficients | None = None
        self._shared_layer: nn.Module | None = None

    @property
    def keeps_width(self) -> bool:
        """Whether as many channels come out as enter: only such functions fit trained networks."""
        try:
            return all(self.width(channels) == channels for channels in (24, 64))
        except ConfigError:
            return False

    @property
    def needs_shapes(self) -> bool:
        """Whether the size at every site must be known before the sites are made."""
        return self.setting.per == "pixel" and bool(self.setting.trained) and not self.shapes

    def width(self, channels: int) -> int:
        """Return how many channels must enter a site for `channels` to come out.

        Raises:
            ConfigError: If no number does.
        """
        return self.setting.width(channels)

    def __call__(self, channels: int, *, dim: int = 1) -> Activation:
        """Return a fresh site.

        Args:
            channels: Channels that come out of it.
            dim: Their axis.

        Raises:
            ConfigError: If the function cannot give that number of channels.
        """
        entering = self.width(channels)
        if self.setting.per == "network" and self._shared_layer is not None:
            return Activation(self._shared_layer, setting=self.setting)
        trained = self._coefficients(channels)
        self.made += 1
        function = make_layer(self.setting, trained, channels=entering, dim=dim)
        if self.setting.per == "network" and self.setting.function.layer is not None:
            self._shared_layer = function
        return Activation(function, setting=self.setting)

    def _coefficients(self, channels: int) -> Coefficients | None:
        setting = self.setting
        if setting.per == "network":
            self._shared = self._shared or coefficients(setting, ())
            return self._shared
        if setting.per == "pixel" and self.shapes:
            return coefficients(setting, self.shapes[self.made])
        return coefficients(setting, (channels,) if setting.per in ("channel", "pixel") else ())


def activation_maker(choice: Choice) -> ActivationMaker:
    """Return a maker of fresh activations for the sites of one network.

    Beside the function's own parameters, `per: channel` gives every channel its own trained
    numbers, `per: layer` shares them within a site, `per: network` among all sites.

    Raises:
        ConfigError: If the name, a parameter or `per` is unknown, or a value cannot be used.
    """
    return ActivationMaker(choice)
