"""The features of a backbone: no ImageNet head, any number of bands, any size of image."""

from collections import OrderedDict

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.activations import ActivationMaker
from models.cao_choe import Resize
from models.swap import Where, swap_activations
from models.transfer.backbone import Backbone

RGB = 3


def backbone_features(
    backbone: Backbone,
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker | None,
    weights: str | None = None,
    dropout: float = 0.0,
    swap: Where = "all",
    keep_clip: bool = True,
) -> tuple[nn.Module, int]:
    """Return the features of a backbone and their number.

    Args:
        backbone: Which one.
        channels_in: Bands of all images of a chip together.
        size_px: Side at which the network works; other images are resized to it inside.
        make: Makes the activations that replace the backbone's own; None keeps those.
        weights: Name of the ImageNet weights; None for torch's own start.
        dropout: Share of features dropped before the head, in training, beside what the
            backbone drops by itself.
        swap: Which of its activations are replaced: `all`, `last_stage` or `head`.
        keep_clip: Whether those that clip from above (ReLU6) go on to do so when replaced.

    Raises:
        ConfigError: If the backbone cannot work at that size, or cannot take the activation.
        BundleError: If the weights cannot be read.
    """
    if size_px < backbone.smallest_px:
        raise ConfigError(
            f"architecture {backbone.name!r} works from {backbone.smallest_px} px, and the chips "
            f"have {size_px}: set its parameter size_px"
        )
    network, count = backbone.build(size_px, weights)
    widen_first_convolution(network, channels_in)
    if make is not None:
        example = torch.empty(1, channels_in, size_px, size_px, device="meta")
        swap_activations(network, make, example=example, where=swap, keep_clip=keep_clip)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        resize=Resize(size_px), backbone=network, dropout=nn.Dropout(dropout)
    )
    return nn.Sequential(parts), count


def widen_first_convolution(network: nn.Module, channels_in: int) -> None:
    """Let a network take several images, in place, by repeating the kernels of its first layer.

    They are divided by the number of images, so that the same image twice gives what the image
    alone gave.

    Args:
        network: Takes three bands.
        channels_in: Bands it shall take, a multiple of three.
    """
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    images = channels_in // RGB
    if images == 1:
        return
    weight = first.weight.detach().repeat(1, images, 1, 1) / images
    first.weight = nn.Parameter(weight.contiguous(memory_format=torch.preserve_format))
    first.in_channels = channels_in
