"""Regularisers that live inside a network, by name."""

from collections.abc import Callable

from torch import nn

from damagenet.recipe import Choice, check_choice
from models.architectures import Architecture
from models.stochastic_depth import check_stochastic_depth, stochastic_depth


def none(network: nn.Module) -> None:
    """Leave a network as it is."""
    del network


STOCHASTIC_DEPTH = "stochastic_depth"

REGULARISERS: dict[str, Callable[..., None]] = {"none": none, STOCHASTIC_DEPTH: stochastic_depth}


def check_regulariser(choice: Choice) -> None:
    """Check a regulariser and its parameters before a network is built.

    Raises:
        ConfigError: If the name or a parameter is unknown or out of range.
    """
    check_choice("regulariser", choice, REGULARISERS, hidden=("network",))
    if choice.name == STOCHASTIC_DEPTH:
        check_stochastic_depth(**choice.parameters)


def regularise(features: nn.Module, choice: Choice, architecture: Architecture) -> None:
    """Put a checked regulariser into the features of a network, in place.

    Raises:
        ConfigError: If the features lack what it works on.
    """
    if choice.name == STOCHASTIC_DEPTH and architecture.backbone is not None:
        from models.transfer.residual_blocks import open_blocks

        open_blocks(features)
    REGULARISERS[choice.name](features, **choice.parameters)
