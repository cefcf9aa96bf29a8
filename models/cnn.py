"""The compact residual network: small enough for a laptop's CPU."""

from collections import OrderedDict

import torch
from torch import nn

from models.activations import ActivationMaker
from models.residual import Sum

SMALLEST_PX = 32


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, channels_in: int, channels: int, stride: int, make: ActivationMaker) -> None:
        super().__init__()
        inner = make.width(channels)
        self.residual = nn.Sequential(
            convolution(channels_in, inner, stride=stride),
            nn.BatchNorm2d(inner),
            make(channels),
            convolution(channels, inner),
            nn.BatchNorm2d(inner),
        )
        self.shortcut = shortcut(channels_in, inner, stride)
        self.join = Sum()
        self.activation = make(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H / stride, W / stride)."""
        joined = self.join(self.residual, features, self.shortcut(features))
        result: torch.Tensor = self.activation(joined)
        return result


def convolution(channels_in: int, channels: int, *, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a padded convolution without bias, as a batch norm follows."""
    return nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, bias=False)


def shortcut(channels_in: int, channels: int, stride: int) -> nn.Module:
    """Return the identity, or average pooling and a 1x1 convolution (arXiv:1812.01187)."""
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    # Odd sides are rounded up, as the convolutions of the branch do.
    pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
    return nn.Sequential(pool, convolution(channels_in, channels, size=1), nn.BatchNorm2d(channels))


def compact_resnet(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker,
    width: int = 32,
    dropout: float = 0.1,
) -> tuple[nn.Module, int]:
    """Return the features of the compact residual network and their number.

    Stem 5x5 with stride 2 and max pooling, then stages of 1, 2 and 1 residual blocks with
    `width`, 2 and 4 times `width` channels, global average pooling and dropout. 383,009
    parameters with the head at the default width; 776,513 with `or_ail`, which needs twice the
    channels before it. Any image size from 32 px.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Not needed, as the pooling is global.
        make: Makes the activation of each site. A function that joins channels makes the
            convolutions before it wider, and a shortcut that was the identity a convolution.
        width: Channels of the first stage.
        dropout: Share of features dropped before the head, in training.
    """
    del size_px
    inner = make.width(width)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(
            convolution(channels_in, inner, size=5, stride=2),
            nn.BatchNorm2d(inner),
            make(width),
            nn.MaxPool2d(2),
        ),
        stage1=ResidualBlock(width, width, 1, make),
        stage2=nn.Sequential(
            ResidualBlock(width, 2 * width, 2, make), ResidualBlock(2 * width, 2 * width, 1, make)
        ),
        stage3=ResidualBlock(2 * width, 4 * width, 2, make),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
    )
    return nn.Sequential(parts), 4 * width
