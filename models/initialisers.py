"""Weight initialisers by name."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice
from models import autoinit
from models.activations.build import Setting
from models.activations.moments import moments, own_parameters
from models.activations.site import Activation

Start = Callable[[nn.Conv2d | nn.Linear], None]
"""Starts one layer in place."""
OF_RELU = math.sqrt(2)
"""Gain where a network has no activation of ours."""


def keep(network: nn.Module) -> Start:
    """Keep what torch starts a layer with."""
    del network
    return lambda layer: None


def he(network: nn.Module, gain: float | str = "activation") -> Start:
    """Start layers with weights N(0, gain ** 2 / fan_in), biases at zero.

    He et al. 2015 (arXiv:1502.01852) derive sqrt(2) for rectifiers; with the gain of another
    function its signals keep their mean square through the depth just so.

    Args:
        network: Whose activation settles the gain.
        gain: A number above 0, or `activation` for that of the network's own.
    """
    number = gain_of(network) if isinstance(gain, str) else gain

    def start(layer: nn.Conv2d | nn.Linear) -> None:
        fan_in = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=number / math.sqrt(fan_in))
        _zero_bias(layer)

    return start


def xavier(network: nn.Module, gain: float = 1.0) -> Start:
    """Start layers with equal variance both ways (Glorot and Bengio 2010), biases at zero."""
    del network

    def start(layer: nn.Conv2d | nn.Linear) -> None:
        nn.init.xavier_uniform_(layer.weight, gain=gain)
        _zero_bias(layer)

    return start


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


LAYERWISE: dict[str, Callable[..., Start]] = {"default": keep, "he": he, "xavier": xavier}
"""They start each layer by itself."""
INITIALISERS: dict[str, Callable[..., object]] = {autoinit.NAME: autoinit.AutoInit, **LAYERWISE}
"""All of them; AutoInit follows the network from layer to layer."""


def check_initialiser(choice: Choice) -> None:
    """Check an initialiser and its parameters.

    Raises:
        ConfigError: If one of them is unknown or unusable.
    """
    if choice.name == autoinit.NAME:
        autoinit.read_options(choice)
        return
    check_choice("init", choice, INITIALISERS, hidden=("network",))
    gain = choice.parameters.get("gain", 1.0)
    if choice.name == "he" and gain == "activation":
        return
    if isinstance(gain, bool | str) or not 0 < gain < math.inf:
        words = " or the word activation" if choice.name == "he" else ""
        raise ConfigError(
            f"init {choice.name!r}: gain must be a number above 0{words}, got {gain!r}"
        )


def initialise(
    network: nn.Module, choice: Choice, *, examples: Sequence[torch.Tensor] = ()
) -> None:
    """Start every layer of a network in place.

    Args:
        network: Freshly made.
        choice: The initialiser.
        examples: What the network takes, (N, ...), for initialisers that follow it; only shapes
            and types matter.

    Raises:
        ConfigError: If the initialiser or one of its parameters is unknown or unusable, or the
            network is none that it can start.
    """
    check_initialiser(choice)
    if choice.name == autoinit.NAME:
        autoinit.autoinit(network, examples, autoinit.read_options(choice))
        return
    start = LAYERWISE[choice.name](network, **choice.parameters)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            start(layer)


def gain_of(network: nn.Module) -> float:
    """Return the gain of the first activation of a network, sqrt(2) where it has none of ours."""
    for module in network.modules():
        if isinstance(module, Activation) and module.setting is not None:
            return _gain(module.setting)
    return OF_RELU


def _gain(setting: Setting) -> float:
    return moments(setting.name, **own_parameters(setting)).gain
