"""EfficientNet-Lite0: EfficientNet-B0 (arXiv:1905.11946) without squeeze-and-excitation, ReLU6."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

STEM = 32
STAGES = (
    # expansion, channels, blocks, stride of the first block, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""The layer table of the paper; Lite scales neither stem nor head."""
FEATURES = 1280
CLASSES = 1000
NORM_EPS = 1e-3
"""What the published weights were trained with; torch's own is 1e-5."""


class StridedConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow pads: what is odd goes to the right and the bottom.

    The published weights were trained so; with the same padding on both sides every stride would
    look one pixel further up and left.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, ceil(H / stride), ceil(W / stride))."""
        height, width = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0)
            for side, stride, kernel in zip(
                features.shape[2:], self.stride, self.kernel_size, strict=True
            )
        )
        padding = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(features, padding))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; the input is added where it fits (arXiv:1801.04381)."""

    def __init__(
        self, channels_in: int, channels: int, *, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        inner = channels_in * expansion
        widen = [] if expansion == 1 else _layer(channels_in, inner, 1)
        self.layers = nn.Sequential(
            *widen,
            *_layer(inner, inner, kernel, stride=stride, groups=inner),
            *_layer(inner, channels, 1)[:-1],
        )
        self.adds = stride == 1 and channels_in == channels

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H / stride, W / stride)."""
        result: torch.Tensor = self.layers(features)
        return result + features if self.adds else result


def efficientnet_lite0(*, dropout: float = 0.2) -> nn.Sequential:
    """Return EfficientNet-Lite0 with its ImageNet head: (N, 3, H, W) -> (N, 1000).

    4,652,008 parameters, 3,371,008 of them without the head. Any image size from 32 px.

    Args:
        dropout: Share of features dropped before the head, in training.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Sequential(*_layer(3, STEM, 3, stride=2))
    )
    inputs = [STEM, *(channels for _, channels, *_ in STAGES)]
    for number, (pair, (expansion, _, blocks, stride, kernel)) in enumerate(
        zip(pairwise(inputs), STAGES, strict=True), start=1
    ):
        channels_in, channels = pair
        parts[f"stage{number}"] = nn.Sequential(
            *(
                InvertedResidual(
                    channels if block else channels_in,
                    channels,
                    expansion=expansion,
                    stride=1 if block else stride,
                    kernel=kernel,
                )
                for block in range(blocks)
            )
        )
    parts["last"] = nn.Sequential(*_layer(inputs[-1], FEATURES, 1))
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["dropout"] = nn.Dropout(dropout)
    parts["classifier"] = nn.Linear(FEATURES, CLASSES)
    return nn.Sequential(parts)


def _layer(
    channels_in: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution, its norm and ReLU6."""
    kind, padding = (nn.Conv2d, kernel // 2) if stride == 1 else (StridedConv2d, 0)
    return [
        kind(channels_in, channels, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels, eps=NORM_EPS),
        nn.ReLU6(inplace=True),
    ]
