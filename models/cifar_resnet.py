"""The residual network of 6 N + 2 layers that stochastic depth was shown on (arXiv:1603.09382)."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from models.activations import ActivationMaker
from models.residual import Sum

DEPTHS = range(8, 1203, 6)
"""6 N + 2: the stem, 6 N convolutions and the head."""
SMALLEST_PX = 16
"""With a stem of stride 1; it leaves 4 x 4 positions to the last group."""


class PlainShortcut(nn.Module):
    """Averages neighbours and appends channels of zeros: a shortcut that learns nothing."""

    def __init__(self, stride: int, more: int) -> None:
        """Settle what changes.

        Args:
            stride: Side of the squares that are averaged.
            more: Channels appended; below zero, that many of the last ones are left out.
        """
        super().__init__()
        self.stride = stride
        self.more = more

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, C + more, H / stride, W / stride), odd sides rounded up as convolutions do."""
        if self.stride > 1:
            features = F.avg_pool2d(features, self.stride, ceil_mode=True)
        return F.pad(features, (0, 0, 0, 0, 0, self.more))


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with batch norms beside a shortcut, activated after the sum."""

    def __init__(self, channels_in: int, channels: int, stride: int, make: ActivationMaker) -> None:
        super().__init__()
        inner = make.width(channels)
        self.residual = nn.Sequential(
            _convolution(channels_in, inner, stride=stride),
            nn.BatchNorm2d(inner),
            make(channels),
            _convolution(channels, inner),
            nn.BatchNorm2d(inner),
        )
        same = stride == 1 and channels_in == inner
        self.shortcut = nn.Identity() if same else PlainShortcut(stride, inner - channels_in)
        self.join = Sum()
        self.activation = make(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H / stride, W / stride)."""
        joined = self.join(self.residual, features, self.shortcut(features))
        result: torch.Tensor = self.activation(joined)
        return result


def cifar_resnet(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker,
    depth: int = 20,
    width: int = 16,
    stem_stride: int = 1,
) -> tuple[nn.Module, int]:
    """Return the features of a residual network of `depth` layers and their number.

    A 3x3 convolution, three groups of `(depth - 2) / 6` blocks with `width`, 2 and 4 times
    `width` channels, of which the second and third halve the sides, and global average pooling.
    269,825 parameters with the head at the default depth and width.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Not needed, as the pooling is global.
        make: Makes the activation of each site. A function that joins channels makes the
            convolutions before it wider; the shortcut then appends zeros or leaves channels out.
        depth: One of `DEPTHS`.
        width: Channels of the first group.
        stem_stride: 1 as published, for 32 px; 2 costs a quarter of it on larger chips.
    """
    del size_px
    inner = make.width(width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(
            _convolution(channels_in, inner, stride=stem_stride),
            nn.BatchNorm2d(inner),
            make(width),
        )
    )
    blocks = (depth - 2) // 6
    before = width
    for number, stride in enumerate((1, 2, 2)):
        channels = width * 2**number
        parts[f"group{number + 1}"] = nn.Sequential(
            CifarBlock(before, channels, stride, make),
            *(CifarBlock(channels, channels, 1, make) for _ in range(blocks - 1)),
        )
        before = channels
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    return nn.Sequential(parts), before


def _convolution(channels_in: int, channels: int, *, stride: int = 1) -> nn.Conv2d:
    # With a bias, as the authors' has, though the batch norm behind it takes the bias out again.
    return nn.Conv2d(channels_in, channels, 3, stride, padding=1)
