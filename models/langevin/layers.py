"""The layers that get noise: the first share of the depth, or those that are named."""

import math

from torch import nn

from damagenet.errors import ConfigError
from models.classifier import Classifier
from models.langevin.noise import Noise


def noisy_parameters(network: Classifier, noise: Noise) -> set[int]:
    """Return the ids of the parameters that get noise.

    The paper's list of layers holds every object of the network, additions too. Here a layer is
    a module that has parameters itself (convolution, norm, matrix, trained activation), in the
    order in which they were made, which is that from the image to the logit. The first share is
    rounded down to whole layers; a name is that of a stage, of a layer inside one, or `head`.

    Raises:
        ConfigError: If there is no layer of a name.
    """
    found = _layers(network)
    if noise.layers is not None:
        words = [word.strip() for word in str(noise.layers).split(",")]
        chosen = [each for word in words for each in _named(found, word)]
    else:
        share = 1.0 if noise.first_fraction is None else noise.first_fraction
        # What floating point makes 2.9999999999999996 of are three layers.
        chosen = list(found.values())[: math.floor(share * len(found) + 1e-9)]
    return {id(parameter) for each in chosen for parameter in each.parameters(recurse=False)}


def _layers(network: Classifier) -> dict[str, nn.Module]:
    """Return every module with parameters of its own by its path, in order."""
    return {
        name.removeprefix("features.").removeprefix("backbone."): module
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }


def _named(found: dict[str, nn.Module], word: str) -> list[nn.Module]:
    chosen = [each for name, each in found.items() if f"{name}.".startswith(f"{word}.")]
    if not chosen:
        names = ", ".join(dict.fromkeys(name.split(".")[0] for name in found))
        raise ConfigError(f"the network has no layer {word!r}; choose among: {names}")
    return chosen
