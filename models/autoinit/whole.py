"""Modules that are one step of the walk: what runs inside them is not looked at."""

import math

import torch
from torch import nn

from models.activations import Activation
from models.activations.build import Setting
from models.autoinit.layers import after_dropout
from models.autoinit.sampling import through_activation
from models.autoinit.signal import Signal
from models.normalise import Normalise
from models.swap.clipped import Clipped

DROPS = {"DropPath": "drop_prob", "StochasticDepth": "p"}
"""Classes of timm and torchvision that drop a branch whole, and where they hold the share."""


def is_whole(module: nn.Module) -> bool:
    """Whether a module is one step."""
    return (
        isinstance(module, Normalise) or _setting(module) is not None or _share(module) is not None
    )


def after_whole(
    module: nn.Module, features: torch.Tensor, entering: Signal, *, draws: int
) -> Signal:
    """Return what leaves a module that is one step.

    Args:
        module: One of those.
        features: What enters, without values.
        entering: What is known of it.
        draws: Numbers to draw where there is no integral.

    Raises:
        ConfigError: If it is a dropout that leaves nothing.
    """
    share, setting = _share(module), _setting(module)
    if share is not None:
        return after_dropout(entering, share)
    if setting is None:
        # The walk starts behind the normalising first layer.
        return entering
    axis = getattr(_site(module).function, "dim", 1)
    return through_activation(
        setting,
        entering,
        channels=features.shape[axis],
        draws=draws,
        ceiling=module.ceiling if isinstance(module, Clipped) else math.inf,
    )


def settings_in(network: nn.Module) -> dict[str, Setting]:
    """Return the activations of ours in a network, by name."""
    found = (each.setting for each in network.modules() if isinstance(each, Activation))
    return {each.name: each for each in found if each is not None}


def _site(module: nn.Module) -> Activation:
    site = module.activation if isinstance(module, Clipped) else module
    assert isinstance(site, Activation)
    return site


def _setting(module: nn.Module) -> Setting | None:
    if isinstance(module, Clipped):
        return module.activation.setting
    return module.setting if isinstance(module, Activation) else None


def _share(module: nn.Module) -> float | None:
    """Return the share of a module that drops branches; None for every other."""
    share = getattr(module, DROPS.get(type(module).__name__, ""), None)
    return float(share) if isinstance(share, int | float) else None
