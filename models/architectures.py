"""Architectures by name: a table of our own, and all others among the backbones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models import all_cnn, cao_choe, cnn

if TYPE_CHECKING:
    from models.transfer.backbone import Backbone

Features = Callable[..., tuple[nn.Module, int]]
"""Takes `channels_in`, `size_px`, `make` and its own parameters; returns features and count."""


Family = Literal["residual", "plain", "spiking", "capsules", "other"]
"""What an architecture can be combined with: see `models.compatibility`."""

Limits = tuple[int, int] | tuple[float, float] | tuple[bool, bool] | tuple[str, ...]
"""Smallest and largest number (whole ones for a parameter that counts), or all that it may be."""


LARGEST_PX = 1024
RELU = Choice(name="relu")
REPLACING = ("swap", "keep_clip")
"""Parameters of backbones that say where activations are replaced; the weights stay the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How the features of one architecture are made, and what it takes."""

    features: Features
    smallest_px: int
    """Images with a shorter side are refused."""
    limits: dict[str, Limits]
    """Its own parameters, which may be set by name."""
    activation: Choice | None = RELU
    """What stands at its sites unless another is asked for; None where each site has its own."""
    backbone: "Backbone | None" = None
    """What others have trained on ImageNet; None for our own."""
    takes_black: bool = False
    """Whether its features are told what black is after the first layer, as `black`."""
    family: Family = "other"
    """What it can be combined with; `other` is asked for nothing."""


ARCHITECTURES: dict[str, Architecture] = {
    "all_cnn": Architecture(
        features=all_cnn.all_cnn,
        smallest_px=all_cnn.SMALLEST_PX,
        limits={
            "variant": tuple(all_cnn.VARIANTS),
            "reduce": tuple(all_cnn.REDUCTIONS),
            "width": (8, 256),
            "extra_stage": (False, True),
            "input_dropout": (0.0, 0.95),
            "dropout": (0.0, 0.95),
        },
        family="plain",
    ),
    "cao_choe": Architecture(
        features=cao_choe.cao_choe,
        smallest_px=cao_choe.SMALLEST_PX,
        limits={
            "size_px": (cao_choe.SMALLEST_PX, LARGEST_PX),
            "dropout": (0.0, 0.95),
            "dense_dropout": (0.0, 0.95),
        },
        family="plain",
    ),
    "compact_resnet": Architecture(
        features=cnn.compact_resnet,
        smallest_px=cnn.SMALLEST_PX,
        limits={"width": (8, 256), "dropout": (0.0, 0.95)},
        family="residual",
    ),
}
"""Our own."""


def find_architecture(choice: Choice) -> Architecture:
    """Return an architecture whose parameters are checked.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value out of range.
    """
    architecture = ARCHITECTURES.get(choice.name) or _other_architecture(choice.name)
    for name, value in choice.parameters.items():
        if name not in architecture.limits:
            raise ConfigError(
                f"architecture {choice.name!r} has no parameter {name!r}; "
                f"it takes: {', '.join(architecture.limits)}"
            )
        _check_limits(f"{choice.name}.{name}", value, architecture.limits[name])
    return architecture


def _other_architecture(name: str) -> Architecture:
    # torchvision takes a second to import, which our own networks need not wait for.
    from models import texture
    from models.swap import Where
    from models.transfer.features import backbone_features
    from models.transfer.table import backbone_names, find_backbone

    if name == texture.NAME:
        return Architecture(
            features=texture.lite0_texture,
            smallest_px=texture.SMALLEST_PX,
            limits={
                "depth": (1, len(texture.READ_AFTER)),
                "dropout": (0.0, 0.95),
                "swap": get_args(Where),
                "keep_clip": (False, True),
            },
            activation=None,
            backbone=texture.texture_backbone(),
            takes_black=True,
        )
    backbone = find_backbone(name)
    if backbone is None:
        choices = ", ".join([*sorted(ARCHITECTURES), texture.NAME, *backbone_names(name)])
        raise ConfigError(f"unknown architecture {name!r}; choose one of: {choices}")
    return Architecture(
        features=partial(backbone_features, backbone),
        smallest_px=1,
        limits={
            "size_px": (backbone.smallest_px, LARGEST_PX),
            "dropout": (0.0, 0.95),
            "swap": get_args(Where),
            "keep_clip": (False, True),
        },
        activation=None,
        backbone=backbone,
    )


def _check_limits(name: str, value: object, limits: Limits) -> None:
    if isinstance(limits[0], str | bool):
        if value not in limits or isinstance(value, bool) != isinstance(limits[0], bool):
            choices = ", ".join(map(str, limits))
            raise ConfigError(
                f"architecture parameter {name} must be one of {choices}, got {value!r}"
            )
        return
    low, high = limits
    kind = type(low)
    fits = isinstance(value, int) or (kind is float and isinstance(value, float))
    if isinstance(value, bool) or not fits or not low <= float(str(value)) <= high:
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(
            f"architecture parameter {name} must be {wanted} within {low}..{high}, got {value!r}"
        )
