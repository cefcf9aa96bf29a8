"""Weight initialisers by name."""

from collections.abc import Callable

from torch import nn

from damagenet.recipe import Choice, check_choice


def keep(layer: nn.Module) -> None:
    """Keep what torch starts a layer with."""


def he(layer: nn.Module) -> None:
    """Start a layer for rectifiers (He et al. 2015, arXiv:1502.01852), biases at zero."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        _zero_bias(layer)


def xavier(layer: nn.Module, gain: float = 1.0) -> None:
    """Start a layer with equal variance both ways (Glorot and Bengio 2010), biases at zero."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight, gain=gain)
        _zero_bias(layer)


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


INITIALISERS: dict[str, Callable[..., None]] = {"default": keep, "he": he, "xavier": xavier}


def check_initialiser(choice: Choice) -> None:
    """Raise ConfigError if the initialiser or one of its parameters is unknown."""
    check_choice("init", choice, INITIALISERS, hidden=("layer",))


def initialise(network: nn.Module, choice: Choice) -> None:
    """Start every layer of a network in place; raise ConfigError for an unknown initialiser."""
    check_initialiser(choice)
    for layer in network.modules():
        INITIALISERS[choice.name](layer, **choice.parameters)
