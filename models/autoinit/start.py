"""Starting a network by AutoInit."""

import logging
from collections.abc import Sequence

import torch
from torch import nn

from models.activations.moments import moments, own_parameters
from models.autoinit.draws import draw_weights
from models.autoinit.options import AutoInit
from models.autoinit.walk import Walk, walk
from models.autoinit.whole import settings_in

log = logging.getLogger(__name__)

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
STEEP = 1.001
"""Slopes above it are no rounding of 1."""


def autoinit(network: nn.Module, examples: Sequence[torch.Tensor], options: AutoInit) -> None:
    """Start every convolution and dense layer of a network in place, biases at zero.

    Weights come from torch's generator, in the order in which the network uses them; norms and
    the parameters of activations keep their start.

    Args:
        network: Freshly made: what its weights hold is lost.
        examples: What it takes, (N, ...); only shapes and types matter.
        options: As a recipe gives them.

    Raises:
        ConfigError: As `walk` does; the network is then as it was.
    """
    found = walk(network, examples, options)
    _warn_of_the_unreached(network, found)
    for name in found.unknown:
        log.warning(
            "init autoinit has no rule for %s: mean and variance are taken to pass it unchanged "
            "(strict: true refuses it)",
            name,
        )
    _warn_of_slopes(network)
    for draw in found.draws:
        draw_weights(draw, options.distribution)


def _warn_of_the_unreached(network: nn.Module, found: Walk) -> None:
    drawn = {id(draw.weight) for draw in found.draws}
    missed = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, LAYERS) and id(layer.weight) not in drawn
    ]
    if missed:
        log.warning(
            "init autoinit does not reach %d layers, as %s, which keep the start that torch gave "
            "them",
            len(missed),
            missed[0],
        )


def _warn_of_slopes(network: nn.Module) -> None:
    for name, setting in settings_in(network).items():
        slope = moments(name, **own_parameters(setting)).variance_slope
        if abs(slope) > STEEP:
            log.warning(
                "activation %s: an error of the variance grows %.2f-fold with every layer, so that "
                "init autoinit holds it through few layers without a norm between them",
                name,
                slope,
            )
