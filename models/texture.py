"""How rough the ground looks: deviations of the first ImageNet feature maps over a chip.

Flood water is smooth. The first maps of a backbone respond to edges and grain of many kinds, and
their deviation over a chip says how much of each there is. Of two pictures of one place the
change counts: what the sensor, the season and the roofs bring is in both and falls out.

Ground that a picture does not show is black, and its edge is rougher than any ground. It is grey
to the trunk, as all that lies beyond a chip is, and the deviations are taken over the rest.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from models.activations import ActivationMaker
from models.efficientnet_lite import STAGES, efficientnet_lite0
from models.normalise import black_after
from models.swap import Where, swap_activations
from models.transfer.backbone import Backbone
from models.transfer.lite0 import PIXELS, lite0_backbone, load_published

NAME = "lite0_texture"
SMALLEST_PX = 32
RGB = 3
READ_AFTER = (2, 3, 5)
"""Stages of EfficientNet-Lite0 after which maps are read: the last at each resolution."""
BLACK = black_after(PIXELS.mean, PIXELS.std)
"""What black is after the first layer that belongs to the ImageNet weights."""
FLOOR = 0.02
"""Added to a deviation before its logarithm: maps that are flat say nothing more below it."""
BLOCK_PX = 4
"""Side of the blocks that are unseen if all of their pixels are black: a dark pixel is none."""
SAME = 1e-3
"""Normalised values that differ by less are equal; one step of 255 is at least 0.004."""
SMALLEST_VARIANCE = 1e-12
FEWEST = 4
"""Places of a map that a deviation is taken over at least, or else over all of them."""


class TextureStatistics(nn.Module):
    """Logarithms of the deviations of feature maps; of two images their difference."""

    def __init__(self, trunk: nn.Sequential, dropout: float, black: Sequence[float]) -> None:
        """Take the first stages of a backbone.

        Args:
            trunk: (N, 3, H, W) through its children in turn; those in `READ_AFTER` are read.
            dropout: Share of the statistics dropped before the head, in training.
            black: What enters where red, green and blue are zero.
        """
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.read = frozenset(f"stage{number}" for number in READ_AFTER)
        self.black: torch.Tensor
        # Known from the pixel statistics of the first layer, so that no bundle holds it again.
        self.register_buffer("black", torch.tensor(black).view(1, RGB, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, F) of images (N, 3, H, W), or of the first minus the second (N, 6, H, W).

        Of two images only the ground counts that both show.
        """
        count = images.shape[1] // RGB
        maps = images if count == 1 else torch.cat(images.chunk(count, dim=1))
        red, green, blue = maps.chunk(RGB, dim=1)
        # No band can be darker than black, so that their sum says it for all three.
        black = (red + green + blue < self.black.sum() + SAME).float()
        unseen = _unseen_blocks(black)
        maps = maps * (1 - black * _spread(unseen, black.shape))
        if count > 1:
            unseen = _by_image(unseen, count).amax(dim=0).repeat(count, 1, 1, 1)
        found = []
        for name, stage in self.trunk.named_children():
            maps = stage(maps)
            if name in self.read:
                deviation = _deviation(maps.float(), 1 - _pooled(unseen, maps.shape))
                found.append(torch.log(deviation + FLOOR))
        statistics = torch.cat(found, dim=1)
        if count > 1:
            post, pre = _by_image(statistics, count)
            statistics = post - pre
        dropped: torch.Tensor = self.dropout(statistics)
        return dropped


def _by_image(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Return rows (count * N, ...) as (count, N, ...); a chunk would fix N when it is exported."""
    return rows.reshape(count, rows.shape[0] // count, *rows.shape[1:])


def _unseen_blocks(black: torch.Tensor) -> torch.Tensor:
    """Return 1 for unseen blocks, else 0, (N, 1, H / 4, W / 4), of black pixels (N, 1, H, W).

    They are those that are wholly black, and those beside them with any black: its ragged edge.
    """
    whole = 1 - F.max_pool2d(1 - black, BLOCK_PX, ceil_mode=True)
    return F.max_pool2d(whole, 3, stride=1, padding=1) * F.max_pool2d(
        black, BLOCK_PX, ceil_mode=True
    )


def _spread(blocks: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return the value of each pixel's block, of that shape."""
    wide = blocks.repeat_interleave(BLOCK_PX, dim=2).repeat_interleave(BLOCK_PX, dim=3)
    return wide[:, :, : shape[2], : shape[3]]


def _pooled(blocks: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return the largest of the blocks that each place of a map of that shape stands for."""
    factor = -(-blocks.shape[2] // shape[2])
    return F.max_pool2d(blocks, factor, ceil_mode=True) if factor > 1 else blocks


def _deviation(maps: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the deviations (N, C) of maps (N, C, h, w) over places that are seen (N, 1, h, w).

    Where hardly any place is seen they are taken over all, so that there is a number.
    """
    enough = seen.sum(dim=(2, 3), keepdim=True) >= FEWEST
    seen = torch.where(enough, seen, torch.ones_like(seen))
    places = seen.sum(dim=(2, 3))
    mean = ((maps * seen).sum(dim=(2, 3)) / places)[:, :, None, None]
    squares = ((maps - mean).square() * seen).sum(dim=(2, 3))
    # A square root is too steep at zero to learn through.
    return (squares / (places - 1)).clamp(min=SMALLEST_VARIANCE).sqrt()


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
    black: Sequence[float] = BLACK,
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
        black: What enters where red, green and blue are zero, by the network's first layer.

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
    return TextureStatistics(trunk, dropout, black), count


def texture_backbone() -> Backbone:
    """Return what there is to know of its ImageNet weights: they are those of the backbone."""
    lite0 = lite0_backbone()
    return Backbone(name=NAME, build=lite0.build, weights=lite0.weights, smallest_px=SMALLEST_PX)
