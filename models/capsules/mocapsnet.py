"""The momentum capsule network (Gugglberger, Peer and Rodriguez-Sanchez 2022, arXiv:2201.11091)."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.activations import ActivationMaker
from models.cao_choe import Resize
from models.capsules.momentum import MomentumNet, check_gamma
from models.capsules.routing import SMALL, CapsuleLayer, lengths, squash

CLASSES = 2
"""Undamaged and damaged: the capsule of a class stands at its label."""
BLOCKS = 2
GAMMA = 0.9
KERNEL = 9
PRIMARY = 8
"""Dimension of all capsules but those of the classes."""
POSE = 16
SMALLEST_PX = 2 * KERNEL - 1
STEM_PX = 32
"""Side to which the stem brings a picture, or below."""
LARGEST_BARE_PX = 64
"""Above this side the first capsules would be too many."""
DEFAULT_PX = 128
HEAD_SCALE = 5.0
"""Logit of two lengths that are 1 apart."""

Stem = Literal["conv", "none"]


class PrimaryCapsules(nn.Module):
    """Makes capsules (N, I, D) of maps (N, T * D, H, W): one of each type T at each place."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return squashed capsules of dimension `PRIMARY`."""
        count, channels, height, width = maps.shape
        capsules = maps.reshape(count, channels // PRIMARY, PRIMARY, height, width).movedim(2, -1)
        return squash(capsules.reshape(count, -1, PRIMARY))


class WithLengths(nn.Module):
    """Makes features (N, K + K * P) of capsules (N, K, P): the lengths, then the capsules."""

    def forward(self, capsules: torch.Tensor) -> torch.Tensor:
        """Return what `lengths_and_capsules` takes apart."""
        return torch.cat([lengths(capsules), capsules.flatten(1)], dim=1)


def lengths_and_capsules(
    features: torch.Tensor, classes: int = CLASSES
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the lengths (N, K), 0..1, and the capsules (N, K, P) in features (N, K + K * P)."""
    return features[:, :classes], features[:, classes:].reshape(len(features), classes, -1)


class MoCapsNet(nn.Sequential):
    """The features: pictures (N, C, H, W) in, lengths and capsules of the classes out.

    Attributes:
        capsules: Number of classes and dimension of their capsules.
        picture: Bands, height and width of the picture as the first capsules see it.
    """

    def __init__(
        self,
        parts: OrderedDict[str, nn.Module],
        *,
        capsules: tuple[int, int],
        picture: tuple[int, int, int],
    ) -> None:
        super().__init__(parts)
        self.capsules = capsules
        self.picture = picture


def mocapsnet(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker,
    classes: int = CLASSES,
    stem: Stem = "conv",
    width: int = 256,
    num_caps: int = 32,
    blocks: int = BLOCKS,
    gamma: float = GAMMA,
    routing: str = "rba",
    routing_iters: int = 3,
    reversible: bool = True,
    spread: float = SMALL,
) -> tuple[MoCapsNet, int]:
    """Return the features of the momentum capsule network and their number.

    A stem of 3x3 convolutions with stride 2, each with batch norm and an activation, until the
    side is 32 px or below; a 9x9 convolution with an activation; 9x9 with stride 2, whose maps are
    the primary capsules; a layer of `num_caps` capsules; 2 * `blocks` layers of as many in one
    momentum net; the capsules of the classes. Of three bands at 32 px 9,835,776 parameters, 131,072
    of them in each block, and with the decoder 13,526,784.

    The authors' code adds the input of each block once more to what its momentum net returns, and
    starts every block with velocity 0. Here the velocity goes through all blocks.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Side at which the network works; other images are resized to it inside.
        make: Makes the activation of each convolution.
        classes: Number of the last capsules.
        stem: `none` for pictures up to 64 px, as published.
        width: Channels of the 9x9 convolutions; the stem has half of them.
        num_caps: Capsules in each layer.
        blocks: Pairs of layers in the momentum net.
        gamma: Share of the velocity that stays from layer to layer.
        routing: `rba`, routing by agreement, or `sda`, by scaled distance.
        routing_iters: Rounds of routing.
        reversible: Whether the backward pass computes the momentum net again instead of storing
            its activations.
        spread: Standard deviation of the routing weights at the start; at the published 0.01
            lengths begin at about 1e-10, and learn slowly.

    Raises:
        ConfigError: As `check_parameters`.
    """
    check_parameters(size_px=size_px, stem=stem, width=width, gamma=gamma, reversible=reversible)
    parts: OrderedDict[str, nn.Module] = OrderedDict(resize=Resize(size_px))
    side, entering = size_px, channels_in
    if stem == "conv":
        parts["stem"], side, entering = _stem(channels_in, size_px, width // 2, make)
    parts["convolution"] = nn.Conv2d(entering, make.width(width), KERNEL)
    parts["activation"] = make(width)
    parts["maps"] = nn.Conv2d(width, width, KERNEL, stride=2)
    parts["primary"] = PrimaryCapsules()
    first = width // PRIMARY * ((side - SMALLEST_PX) // 2 + 1) ** 2
    inner = (num_caps, PRIMARY)

    def layer(inputs: tuple[int, int], outputs: tuple[int, int]) -> CapsuleLayer:
        return CapsuleLayer(
            inputs, outputs, routing=routing, iterations=routing_iters, spread=spread
        )

    parts["gather"] = layer((first, PRIMARY), inner)
    parts["momentum"] = MomentumNet(
        [layer(inner, inner) for _ in range(2 * blocks)], gamma=gamma, reversible=reversible
    )
    parts["classes"] = layer(inner, (classes, POSE))
    parts["lengths"] = WithLengths()
    features = MoCapsNet(parts, capsules=(classes, POSE), picture=(channels_in, side, side))
    return features, classes + classes * POSE


def check_parameters(
    *,
    size_px: int = DEFAULT_PX,
    stem: Stem = "conv",
    width: int = 256,
    gamma: float = GAMMA,
    reversible: bool = True,
    **others: object,
) -> None:
    """Refuse parameters that do not go together; the others are as in `mocapsnet`.

    Raises:
        ConfigError: If a picture is too large to go without a stem, the channels are not whole
            capsules, or gamma cannot be turned round.
    """
    del others
    if stem == "none" and size_px > LARGEST_BARE_PX:
        raise ConfigError(
            f"mocapsnet takes pictures above {LARGEST_BARE_PX} px with a stem only, got size_px "
            f"{size_px} and stem none: set stem to conv, or size_px to {STEM_PX}"
        )
    if width % PRIMARY:
        raise ConfigError(f"mocapsnet.width must be a multiple of {PRIMARY}, got {width}")
    check_gamma(gamma, reversible=reversible)


def steps_backwards(
    parameters: Mapping[str, float | int | bool | str],
) -> tuple[int, float] | None:
    """Return how many steps the backward pass computes again, and gamma; None without any."""
    if not parameters.get("reversible", True):
        return None
    return 2 * int(parameters.get("blocks", BLOCKS)), float(parameters.get("gamma", GAMMA))


def fix_head(head: nn.Linear) -> None:
    """Make a head's logit the difference of the two lengths for good, damaged minus undamaged.

    The margin loss trains the lengths themselves and leaves nothing to learn behind them; what a
    difference means in probability is fitted afterwards, as for every bundle.
    """
    with torch.no_grad():
        head.weight.zero_()
        head.weight[0, 0], head.weight[0, 1] = -HEAD_SCALE, HEAD_SCALE
        head.bias.zero_()
    head.requires_grad_(False)


def _stem(
    channels_in: int, side: int, width: int, make: ActivationMaker
) -> tuple[nn.Sequential, int, int]:
    """Return the convolutions, and the side and channels of what leaves them."""
    parts: list[nn.Module] = []
    while side > STEM_PX:
        inner = make.width(width)
        parts += [
            nn.Conv2d(channels_in, inner, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            make(width),
        ]
        side, channels_in = (side + 1) // 2, width
    return nn.Sequential(*parts), side, channels_in
