"""The all convolutional networks of Springenberg et al. 2015 (arXiv:1412.6806).

Plain convolutions with biases and without batch norm, which halve the picture by a stride where
other networks pool; and the networks that the paper compares them with.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from models.activations import ActivationMaker

SMALLEST_PX = 16
VARIANTS: dict[str, tuple[int, ...]] = {"A": (5,), "B": (5, 1), "C": (3, 3)}
"""Kernel sizes of the convolutions before each halving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """How a stage halves the picture."""

    further_convolution: bool
    """Whether a 3x3 convolution follows those of the variant."""
    pools: bool
    """Whether 3x3 max pooling halves the picture, or the stride of the last convolution."""


REDUCTIONS = {
    "strided_conv": Reduction(further_convolution=True, pools=False),
    "pool": Reduction(further_convolution=False, pools=True),
    "strided_base": Reduction(further_convolution=False, pools=False),
    "convpool": Reduction(further_convolution=True, pools=True),
}
"""The All-CNN; and the paper's base model, its Strided-CNN and its ConvPool-CNN."""


def all_cnn(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker,
    variant: str = "C",
    reduce: str = "strided_conv",
    width: int = 96,
    extra_stage: bool = False,
    input_dropout: float = 0.2,
    dropout: float = 0.5,
) -> tuple[nn.Module, int]:
    """Return the features of an all convolutional network and their number.

    Stages of `width` and twice as many channels that halve the picture, a 3x3 and a 1x1
    convolution, and global average pooling. The paper's last layer, a 1x1 convolution to the
    classes, is the head: averaging and a linear layer may change places, once the activation
    after it is left out, since a logit must be able to be negative. With the head of one logit
    at the default width A, B and C have 1,252,513, 1,298,881 and 1,368,001 parameters, and
    193 more for every further class. Any image size from 16 px.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Not needed, as the pooling is global.
        make: Makes the activation of each site; one follows every convolution.
        variant: Which convolutions precede each halving: A one of 5x5, B one of 5x5 and one of
            1x1, C two of 3x3.
        reduce: How a stage halves the picture; see `REDUCTIONS`.
        width: Channels of the first stage; 96 in the paper.
        extra_stage: Whether a third stage, like the second, halves the picture once more: a
            feature of C then sees 59 px instead of 27 px, a house instead of a part of its roof.
        input_dropout: Share of the input's values dropped in training.
        dropout: Share of the features dropped after each halving.
    """
    del size_px
    parts: OrderedDict[str, nn.Module] = OrderedDict(input_dropout=nn.Dropout(input_dropout))
    widths = [width, 2 * width, 2 * width] if extra_stage else [width, 2 * width]
    for number, channels in enumerate(widths, start=1):
        layers = _halving(
            channels_in, channels, VARIANTS[variant], reduction=REDUCTIONS[reduce], make=make
        )
        parts[f"stage{number}"] = nn.Sequential(*layers, nn.Dropout(dropout))
        channels_in = channels
    parts["last"] = nn.Sequential(
        *_convolution(channels_in, channels_in, size=3, make=make),
        *_convolution(channels_in, channels_in, size=1, make=make),
    )
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    return nn.Sequential(parts), channels_in


def _halving(
    channels_in: int,
    channels: int,
    kernels: tuple[int, ...],
    *,
    reduction: Reduction,
    make: ActivationMaker,
) -> list[nn.Module]:
    sizes = [*kernels, 3] if reduction.further_convolution else [*kernels]
    strides = [1] * len(sizes)
    if not reduction.pools:
        strides[-1] = 2
    layers: list[nn.Module] = []
    for size, stride in zip(sizes, strides, strict=True):
        layers += _convolution(channels_in, channels, size=size, stride=stride, make=make)
        channels_in = channels
    return [*layers, nn.MaxPool2d(3, 2, padding=1)] if reduction.pools else layers


def _convolution(
    channels_in: int, channels: int, *, size: int, stride: int = 1, make: ActivationMaker
) -> list[nn.Module]:
    wide = make.width(channels)
    return [nn.Conv2d(channels_in, wide, size, stride, padding=size // 2), make(channels)]
