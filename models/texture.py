"""How rough the ground looks: deviations of the first ImageNet feature maps over a chip.

Flood water is smooth. The first maps of a backbone respond to edges and grain of many kinds, and
their deviation over a chip says how much of each there is. Of two pictures of one place the
change counts: what the sensor, the season and the roofs bring is in both and falls out.
"""

from collections import OrderedDict

import torch
from torch import nn

from models.activations import ActivationMaker
from models.efficientnet_lite import STAGES, efficientnet_lite0
from models.swap import Where, swap_activations
from models.transfer.backbone import Backbone
from models.transfer.lite0 import lite0_backbone, load_published

NAME = "lite0_texture"
SMALLEST_PX = 32
RGB = 3
READ_AFTER = (2, 3, 5)
"""Stages of EfficientNet-Lite0 after which maps are read: the last at each resolution."""
FLOOR = 0.02
"""Added to a deviation before its logarithm: maps that are flat say nothing more below it."""


class TextureStatistics(nn.Module):
    """Logarithms of the deviations of feature maps; of two images their difference."""

    def __init__(self, trunk: nn.Sequential, dropout: float) -> None:
        """Take the first stages of a backbone.

        Args:
            trunk: (N, 3, H, W) through its children in turn; those in `READ_AFTER` are read.
            dropout: Share of the statistics dropped before the head, in training.
        """
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.read = frozenset(f"stage{number}" for number in READ_AFTER)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, F) of images (N, 3, H, W), or of the first minus the second (N, 6, H, W)."""
        count = images.shape[1] // RGB
        maps = images if count == 1 else torch.cat(images.chunk(count, dim=1))
        found = []
        for name, stage in self.trunk.named_children():
            maps = stage(maps)
            if name in self.read:
                found.append(torch.log(maps.float().std(dim=(2, 3)) + FLOOR))
        statistics = torch.cat(found, dim=1)
        if count > 1:
            post, pre = statistics.chunk(count)
            statistics = post - pre
        dropped: torch.Tensor = self.dropout(statistics)
        return dropped


def lite0_texture(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker | None,
    weights: str | None = None,
    depth: int = 2,
    dropout: float = 0.0,
    swap: Where = "all",
    keep_clip: bool = True,
) -> tuple[nn.Module, int]:
    """Return the statistics and their number: 64 at depth 2, 176 at depth 3.

    Args:
        channels_in: 3 for one image of a chip, 6 for two.
        size_px: Side of a chip; any from 32 px.
        make: Makes the activations that replace the backbone's own; None keeps those.
        weights: Name of the ImageNet weights; None for torch's own start.
        depth: At how many resolutions the maps are read, 1 to 3.
        dropout: Share of the statistics dropped before the head, in training.
        swap: Which activations are replaced, as in any backbone.
        keep_clip: Whether those that clip from above go on to do so when replaced.

    Raises:
        ConfigError: If the trunk cannot take the activation.
        BundleError: If the weights cannot be read.
    """
    whole = efficientnet_lite0()
    if weights is not None:
        load_published(whole)
    last = READ_AFTER[depth - 1]
    names = ["stem", *(f"stage{number}" for number in range(1, last + 1))]
    parts = dict(whole.named_children())
    trunk = nn.Sequential(OrderedDict((name, parts[name]) for name in names))
    if make is not None:
        example = torch.empty(1, RGB, size_px, size_px, device="meta")
        swap_activations(trunk, make, example=example, where=swap, keep_clip=keep_clip)
    count = sum(STAGES[number - 1][1] for number in READ_AFTER[:depth])
    return TextureStatistics(trunk, dropout), count


def texture_backbone() -> Backbone:
    """Return what there is to know of its ImageNet weights: they are those of the backbone."""
    lite0 = lite0_backbone()
    return Backbone(name=NAME, build=lite0.build, weights=lite0.weights, smallest_px=SMALLEST_PX)
