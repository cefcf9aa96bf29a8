"""From the settings of a model to its network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from damagenet.config import setting
from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings, check_choice
from models import cao_choe, cnn
from models.activations import ActivationMaker, activation_maker
from models.classifier import Classifier
from models.initialisers import check_initialiser, initialise
from models.normalise import Normalise

Features = Callable[..., tuple[nn.Module, int]]
"""Takes `channels_in`, `size_px`, `make` and its own parameters; returns features and count."""


Limits = tuple[int, int] | tuple[float, float]
"""Smallest and largest value of a parameter; whole numbers for a parameter that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How the features of one architecture are made, and what it takes."""

    features: Features
    smallest_px: int
    """Images with a shorter side are refused."""
    limits: dict[str, Limits]
    """Its own parameters, which may be set by name."""


ARCHITECTURES: dict[str, Architecture] = {
    "cao_choe": Architecture(
        features=cao_choe.cao_choe,
        smallest_px=cao_choe.SMALLEST_PX,
        limits={"size_px": (cao_choe.SMALLEST_PX, 1024), "dropout": (0.0, 0.95)},
    ),
    "compact_resnet": Architecture(
        features=cnn.compact_resnet,
        smallest_px=cnn.SMALLEST_PX,
        limits={"width": (8, 256), "dropout": (0.0, 0.95)},
    ),
}
REGULARISERS: dict[str, Callable[..., None]] = {"none": lambda: None}


def check_model(model: ModelSettings) -> None:
    """Raise ConfigError if a name or a parameter of the model is unknown; allocates no network."""
    with setting("model.architecture"):
        _architecture(model.architecture)
    with setting("model.activation"):
        activation_maker(model.activation)
    with setting("model.init"):
        check_initialiser(model.init)
    with setting("model.regulariser"):
        check_choice("regulariser", model.regulariser, REGULARISERS)


def build_network(
    model: ModelSettings,
    *,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    inputs: Sequence[str] = ("post",),
    size_px: int = 128,
) -> Classifier:
    """Return a fresh network: images uint8 or float (N, 3, S, S) in 0..255 -> logits (N, 1).

    Args:
        model: Architecture, activation and initialiser by name.
        pixel_mean: Mean of red, green and blue over the training pixels, 0..255.
        pixel_std: Their standard deviation.
        inputs: The images that one chip is made of, in order.
        size_px: Side of a chip; the architecture's own parameter `size_px` comes first.

    Raises:
        ConfigError: If a name or a parameter is unknown or out of range.
    """
    check_model(model)
    architecture = _architecture(model.architecture)
    features, count = _features(
        model.architecture,
        channels_in=3 * len(inputs),
        size_px=size_px,
        make=activation_maker(model.activation),
    )
    normalise = Normalise(pixel_mean, pixel_std, smallest_px=architecture.smallest_px)
    network = Classifier(normalise, features, nn.Linear(count, 1), images=len(inputs))
    initialise(network, model.init)
    return network.to(memory_format=torch.channels_last)


def _architecture(choice: Choice) -> Architecture:
    if choice.name not in ARCHITECTURES:
        choices = ", ".join(sorted(ARCHITECTURES))
        raise ConfigError(f"unknown architecture {choice.name!r}; choose one of: {choices}")
    architecture = ARCHITECTURES[choice.name]
    for name, value in choice.parameters.items():
        if name not in architecture.limits:
            raise ConfigError(
                f"architecture {choice.name!r} has no parameter {name!r}; "
                f"it takes: {', '.join(architecture.limits)}"
            )
        _check_limits(f"{choice.name}.{name}", value, architecture.limits[name])
    return architecture


def _check_limits(name: str, value: object, limits: Limits) -> None:
    low, high = limits
    kind = type(low)
    fits = isinstance(value, int) or (kind is float and isinstance(value, float))
    if isinstance(value, bool) or not fits or not low <= float(str(value)) <= high:
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(
            f"architecture parameter {name} must be {wanted} within {low}..{high}, got {value!r}"
        )


def _features(
    choice: Choice, *, channels_in: int, size_px: int, make: ActivationMaker
) -> tuple[nn.Module, int]:
    given = {"size_px": size_px} | choice.parameters
    return ARCHITECTURES[choice.name].features(channels_in=channels_in, make=make, **given)
