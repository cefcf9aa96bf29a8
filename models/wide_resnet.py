"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv:1605.07146)."""

from collections import OrderedDict

import torch
from torch import nn

from models.activations import ActivationMaker
from models.cnn import convolution
from models.residual import Sum

DEPTHS = range(10, 1205, 6)
"""6 n + 4: the stem, 6 n convolutions and three projections."""
SMALLEST_PX = 16
"""With a stem of stride 1; it leaves 4 x 4 positions to the last group."""
STEM = 16


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each behind a batch norm and an activation, beside a shortcut.

    Where the width changes, the shortcut is a 1x1 convolution and reads the first activation as
    the branch does; elsewhere it is the identity and the branch has that activation to itself.
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, make: ActivationMaker, dropout: float
    ) -> None:
        super().__init__()
        entering, inner = make.width(channels_in), make.width(channels)
        projects = channels_in != channels
        first = [nn.BatchNorm2d(entering), make(channels_in)]
        self.shared = nn.Sequential(*first) if projects else nn.Identity()
        self.residual = nn.Sequential(
            *([] if projects else first),
            convolution(channels_in, inner, stride=stride),
            nn.BatchNorm2d(inner),
            make(channels),
            nn.Dropout(dropout),
            convolution(channels, inner),
        )
        self.shortcut: nn.Module = nn.Identity()
        if projects:
            self.shortcut = convolution(channels_in, inner, size=1, stride=stride)
        self.join = Sum()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H / stride, W / stride)."""
        entering = self.shared(features)
        result: torch.Tensor = self.join(self.residual, entering, self.shortcut(entering))
        return result


def wide_resnet(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker,
    depth: int = 16,
    width: int = 2,
    dropout: float = 0.0,
    stem_stride: int = 1,
) -> tuple[nn.Module, int]:
    """Return the features of a wide residual network and their number.

    A 3x3 convolution to 16 channels, three groups of `(depth - 4) / 6` blocks with 16, 32 and 64
    times `width` channels, of which the second and third halve the sides, batch norm, activation
    and global average pooling. 690,513 parameters with the head at the default width and depth.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Not needed, as the pooling is global.
        make: Makes the activation of each site. A function that joins channels makes the
            convolutions before it wider.
        depth: One of `DEPTHS`.
        width: Factor on the channels.
        dropout: Share of features dropped between the convolutions of a block, in training.
        stem_stride: 1 as published, for 32 px; 2 costs a quarter of it on larger chips.
    """
    del size_px
    blocks = (depth - 4) // 6
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        stem=convolution(channels_in, make.width(STEM), stride=stem_stride)
    )
    before = STEM
    for number, stride in enumerate((1, 2, 2)):
        channels = STEM * width * 2**number
        parts[f"group{number + 1}"] = nn.Sequential(
            WideBlock(before, channels, stride, make, dropout),
            *(WideBlock(channels, channels, 1, make, dropout) for _ in range(blocks - 1)),
        )
        before = channels
    parts["norm"] = nn.BatchNorm2d(make.width(before))
    parts["activation"] = make(before)
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    return nn.Sequential(parts), before
