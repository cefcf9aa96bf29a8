"""Architectures by name: a table of our own, and all others among the backbones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models import all_cnn, cao_choe, cifar_resnet, cnn, wide_resnet
from models.capsules import mocapsnet
from models.capsules.routing import AGREEMENTS
from models.spiking import sresnet
from models.spiking.coding import Coding

if TYPE_CHECKING:
    from models.transfer.backbone import Backbone

Features = Callable[..., tuple[nn.Module, int]]
"""Takes `channels_in`, `size_px`, `make` and its own parameters; returns features and count."""


Family = Literal["residual", "plain", "spiking", "capsules", "other"]
"""What an architecture can be combined with: see `models.compatibility`."""

Limits = range | tuple[int, int] | tuple[float, float] | tuple[bool, bool] | tuple[str, ...]
"""Smallest and largest number (whole ones for a parameter that counts), or all that it may be."""


LARGEST_PX = 1024
RELU = Choice(name="relu")


def one_logit(features: int, **parameters: object) -> nn.Linear:
    """Return the head of most architectures."""
    del parameters
    return nn.Linear(features, 1)


REPLACING = ("swap", "keep_clip")
"""Parameters of backbones that say where activations are replaced; the weights stay the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How the features of one architecture are made, and what it takes."""

    features: Features
    smallest_px: int
    """Images with a shorter side are refused; `stem_stride` multiplies it where there is one."""
    limits: Mapping[str, Limits]
    """Its own parameters, which may be set by name."""
    activation: Choice | None = RELU
    """What stands at its sites unless another is asked for; None where each site has its own."""
    backbone: "Backbone | None" = None
    """What others have trained on ImageNet; None for our own."""
    takes_black: bool = False
    """Whether its features are told what black is after the first layer, as `black`."""
    takes_activation: bool = True
    """Whether it has sites that an activation can stand at."""
    head: Callable[..., nn.Linear] = one_logit
    """Takes the number of features and the parameters that were set by name."""
    family: Family = "other"
    """What it can be combined with; `other` is asked for nothing."""
    check: Callable[..., None] | None = None
    """Refuses parameters that do not go together; takes those that are set, by name."""
    fix_head: Callable[[nn.Linear], None] | None = None
    """Sets the head for good where the features alone are trained."""
    pooling: str | None = None
    """Name of its global average pooling, where all that comes before is convolutions and what
    acts place by place: windows that overlap can then share its maps (`models.dense`)."""


STEM_STRIDE = "stem_stride"

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
        pooling="pool",
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
    "cifar_resnet": Architecture(
        features=cifar_resnet.cifar_resnet,
        smallest_px=cifar_resnet.SMALLEST_PX,
        limits={"depth": cifar_resnet.DEPTHS, "width": (8, 256), STEM_STRIDE: (1, 2)},
        pooling="pool",
        family="residual",
    ),
    "compact_resnet": Architecture(
        features=cnn.compact_resnet,
        smallest_px=cnn.SMALLEST_PX,
        limits={"width": (8, 256), "dropout": (0.0, 0.95)},
        pooling="pool",
        family="residual",
    ),
    "wide_resnet": Architecture(
        features=wide_resnet.wide_resnet,
        smallest_px=wide_resnet.SMALLEST_PX,
        limits={
            "depth": wide_resnet.DEPTHS,
            "width": (1, 32),
            "dropout": (0.0, 0.95),
            STEM_STRIDE: (1, 2),
        },
        pooling="pool",
        family="residual",
    ),
    "mocapsnet": Architecture(
        features=mocapsnet.mocapsnet,
        smallest_px=mocapsnet.SMALLEST_PX,
        limits={
            "size_px": (mocapsnet.SMALLEST_PX, LARGEST_PX),
            "stem": get_args(mocapsnet.Stem),
            "width": (8, 512),
            "num_caps": (2, 128),
            "blocks": (1, 64),
            "gamma": (0.0, 1.0),
            "routing": tuple(AGREEMENTS),
            "routing_iters": (1, 10),
            "reversible": (False, True),
            "spread": (0.001, 1.0),
        },
        family="capsules",
        check=mocapsnet.check_parameters,
        fix_head=mocapsnet.fix_head,
    ),
    "sresnet": Architecture(
        features=sresnet.sresnet,
        smallest_px=sresnet.SMALLEST_PX,
        limits={
            "n": (1, 32),
            "width": (4, 256),
            "time_steps": (1, 50),
            "leak": (0.0, 1.0),
            "threshold": (1e-3, 1e3),
            "coding": get_args(Coding),
            "boosting": (False, True),
            STEM_STRIDE: (1, 2),
            "checkpoint": (False, True),
        },
        activation=None,
        takes_activation=False,
        head=sresnet.sresnet_head,
        family="spiking",
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
    if architecture.check is not None:
        architecture.check(**choice.parameters)
    stride = int(choice.parameters.get(STEM_STRIDE, 1))
    return replace(architecture, smallest_px=stride * architecture.smallest_px)


def _other_architecture(name: str) -> Architecture:
    # torchvision takes a second to import, which our own networks need not wait for.
    from models import texture
    from models.swap import Where
    from models.transfer.features import backbone_features
    from models.transfer.lite0 import NAME as LITE0
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
        family="residual" if backbone.residual else "other",
        pooling="avgpool" if backbone.residual else "pool" if name == LITE0 else None,
    )


def _check_limits(name: str, value: object, limits: Limits) -> None:
    if isinstance(limits, range):
        if isinstance(value, bool) or not isinstance(value, int) or value not in limits:
            first, second, last = limits[0], limits[1], limits[-1]
            raise ConfigError(
                f"architecture parameter {name} must be one of {first}, {second} ... {last} "
                f"(in steps of {limits.step}), got {value!r}"
            )
        return
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
