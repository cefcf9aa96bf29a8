"""The network of Cao and Choe (arXiv:1807.01688), by the layer list of their starter code."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from models.activations import ActivationMaker

CHANNELS = (32, 64, 128, 128)
DENSE = 512
SMALLEST_PX = 46
"""Below this side the four unpadded convolutions and poolings leave nothing."""


class Resize(nn.Module):
    """Resizes (N, C, H, W) to a square of `size_px`; does nothing where it fits already."""

    def __init__(self, size_px: int) -> None:
        super().__init__()
        self.size_px = size_px

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, C, size_px, size_px)."""
        if images.shape[2:] == (self.size_px, self.size_px):
            return images
        size = (self.size_px, self.size_px)
        return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def cao_choe(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker,
    dropout: float = 0.0,
    dense_dropout: float = 0.0,
) -> tuple[nn.Module, int]:
    """Return the features of the Cao and Choe network and their number.

    Four 3x3 convolutions without padding, each with an activation and 2x2 max pooling, then a
    dense layer of 512. With the head 3,453,121 parameters at 150 px and 2,601,153 at 128 px;
    with `or_ail`, which needs twice the channels before it, 5,201,793 at 128 px.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Side at which the network works; other images are resized to it inside.
        make: Makes the activation of each site.
        dropout: Share dropped of the flattened features, in training.
        dense_dropout: Share dropped of what the dense layer says, in training.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(resize=Resize(size_px))
    side = size_px
    for number, channels in enumerate(CHANNELS, start=1):
        parts[f"conv{number}"] = nn.Conv2d(channels_in, make.width(channels), 3)
        parts[f"activation{number}"] = make(channels)
        parts[f"pool{number}"] = nn.MaxPool2d(2)
        channels_in, side = channels, (side - 2) // 2
    parts["flatten"] = nn.Flatten()
    parts["dropout"] = nn.Dropout(dropout)
    parts["dense"] = nn.Linear(CHANNELS[-1] * side * side, make.width(DENSE))
    parts["activation5"] = make(DENSE)
    parts["dense_dropout"] = nn.Dropout(dense_dropout)
    return nn.Sequential(parts), DENSE
