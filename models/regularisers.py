"""Regularisers that live inside a network, by name."""

from collections.abc import Callable

from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice
from models.architectures import Architecture
from models.stochastic_depth import check_stochastic_depth, stochastic_depth


def none(network: nn.Module) -> None:
    """Leave a network as it is."""
    del network


STOCHASTIC_DEPTH = "stochastic_depth"

REGULARISERS: dict[str, Callable[..., None]] = {"none": none, STOCHASTIC_DEPTH: stochastic_depth}


def check_regulariser(choice: Choice, architecture: Architecture, *, name: str) -> None:
    """Check a regulariser and its parameters before a network is built.

    Args:
        choice: The regulariser.
        architecture: What it shall live in.
        name: The architecture's, for messages.

    Raises:
        ConfigError: If the name or a parameter is unknown or out of range, or the architecture
            has no residual blocks.
    """
    check_choice("regulariser", choice, REGULARISERS, hidden=("network",))
    if choice.name != STOCHASTIC_DEPTH:
        return
    check_stochastic_depth(**choice.parameters)
    if architecture.family != "residual":
        raise ConfigError(
            f"stochastic_depth skips residual blocks, and architecture {name!r} has none that are "
            "known: choose compact_resnet, cifar_resnet, wide_resnet, or one of torchvision's "
            "ResNets, as resnet18"
        )


def regularise(features: nn.Module, choice: Choice, architecture: Architecture) -> None:
    """Put a checked regulariser into the features of a network, in place.

    Raises:
        ConfigError: If the features lack what it works on.
    """
    if choice.name == STOCHASTIC_DEPTH and architecture.backbone is not None:
        from models.transfer.residual_blocks import open_blocks

        open_blocks(features)
    REGULARISERS[choice.name](features, **choice.parameters)
