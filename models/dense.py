"""Dense maps: a network's trunk once over a block of ground, averaged window by window.

A fully convolutional trunk makes the same map of ground wherever that lies, so that windows that
overlap can share it (Long et al. 2015, arXiv:1411.4038). What a chip shows beside that is its rim:
alone it is surrounded by zeros, in a block by the ground that is there. The inner parts of each
window are averaged as well, from which that difference can be learned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import torch
from torch import nn

from damagenet.recipe import ModelSettings
from models.architectures import find_architecture
from models.classifier import Classifier

INSETS = (0.0, 0.125, 0.25)
"""Shares of a window's side that are left out on each of its sides: the whole, and inner parts."""
FEWEST_PX = 4
"""The trunk is cut into stages from where a place of its maps stands for so many pixels."""
TILE = 128
"""Places of a stage's own map on each side that are made at once: they stay near the cache."""
TRIED_PX = 256
"""Side of the picture that strides are found with; a multiple of all that are allowed."""
SAME = 1e-3
"""Share of a map's deviation by which ground out of reach may change it: rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Some layers of a trunk.

    Attributes:
        layers: (1, C, H, W) -> (1, C', H / stride, W / stride).
        stride: Places of what enters for one place of what leaves, on each axis.
        reach: Places of what enters, beyond its own, that a place depends on.
    """

    layers: nn.Sequential
    stride: int
    reach: int

    @classmethod
    def of(cls, layers: nn.Sequential, entering: torch.Tensor) -> Self:
        """Return a stage, its stride and reach taken from its convolutions and poolings.

        Args:
            layers: In evaluation mode.
            entering: Maps as they enter it, (1, C, H, W).
        """
        reach, side = 0, entering.shape[2]

        def note(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            nonlocal reach
            if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
                reach += _reach(module) * (side // given[0].shape[2])

        handles = [module.register_forward_pre_hook(note) for module in layers.modules()]
        stride = side // layers(entering).shape[2]
        for handle in handles:
            handle.remove()
        return cls(layers=layers, stride=stride, reach=reach)

    def over(self, maps: torch.Tensor) -> torch.Tensor:
        """Return what the layers make of maps (1, C, H, W), tile by tile, as if it were at once.

        Args:
            maps: Of sides that are multiples of the stride.
        """
        height, width = (side // self.stride for side in maps.shape[2:])
        made: torch.Tensor | None = None
        for rows, columns in product(_tiles(height), _tiles(width)):
            (down, inner_rows), (across, inner_columns) = self._cut(rows), self._cut(columns)
            part = self.layers(maps[:, :, down, across])
            if made is None:
                made = part.new_empty(1, part.shape[1], height, width)
            made[:, :, rows, columns] = part[:, :, inner_rows, inner_columns]
        assert made is not None
        return made

    def _cut(self, tile: slice) -> tuple[slice, slice]:
        """Return which places enter for a tile of one axis, and where the tile lies in the rest."""
        outside = -(-self.reach // self.stride)
        first = max(0, tile.start - outside)
        before = tile.start - first
        inner = slice(before, before + tile.stop - tile.start)
        return slice(first * self.stride, (tile.stop + outside) * self.stride), inner


def can_be_dense(model: ModelSettings) -> bool:
    """Return whether windows that overlap may share maps of a model's architecture."""
    return find_architecture(model.architecture).pooling is not None


def dense_trunk(network: Classifier, model: ModelSettings, size_px: int) -> "DenseTrunk | None":
    """Return what a network does before its pooling; None where windows cannot share its maps.

    Args:
        network: As built from `model`, perhaps with batch norms folded away.
        model: Its settings.
        size_px: Side of a chip.
    """
    pooling = find_architecture(model.architecture).pooling
    if pooling is None:
        return None
    features = network.features
    resize = getattr(features, "resize", None)
    if resize is not None and resize.size_px != size_px:
        return None
    children = dict(getattr(features, "backbone", features).named_children())
    trunk = DenseTrunk(network, list(children.values())[: list(children).index(pooling)])
    return trunk if size_px % trunk.stride_px == 0 and trunk.is_local() else None


class DenseTrunk:
    """The layers of a network before its global average pooling, for blocks of any size."""

    def __init__(self, network: Classifier, layers: Sequence[nn.Module]) -> None:
        """Cut the layers into stages.

        Args:
            network: In evaluation mode; nothing of it is changed.
            layers: All between its normalisation and its pooling, in turn.
        """
        self._normalise = network.normalise
        device = next(network.parameters()).device
        self._tried = torch.zeros(1, 3, TRIED_PX, TRIED_PX, device=device)
        with torch.inference_mode():
            maps = self._normalised([self._tried] * network.images)
            self.stages: list[Stage] = []
            for group in _groups(layers, maps):
                self.stages.append(Stage.of(group, maps))
                maps = group(maps)
        self.images = network.images
        self.stride_px = 1
        """Pixels that one place of its map stands for, on each axis."""
        reach_px = 0
        for stage in self.stages:
            reach_px += stage.reach * self.stride_px
            self.stride_px *= stage.stride
        self.halo_px = -(-reach_px // self.stride_px) * self.stride_px
        """Pixels around a place that it depends on at most; a multiple of `stride_px`."""

    def maps(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the last map of one block, (C, H / stride_px, W / stride_px).

        Places nearer than `halo_px` to the edge see the zeros around the block.

        Args:
            images: One (1, 3, H, W) for each picture, in 0..255, of sides that are multiples of
                `stride_px`.
        """
        maps = self._normalised(images)
        for stage in self.stages:
            maps = stage.over(maps)
        return maps[0]

    def is_local(self) -> bool:
        """Tell whether ground beyond the halo leaves a map alone, by trying.

        An activation that looks at a whole map, for instance, would not.
        """
        place = self.halo_px // self.stride_px + 1
        side = (2 * place + 1) * self.stride_px
        noise = torch.Generator().manual_seed(0)
        first = torch.randint(0, 256, (1, 3, side, side), generator=noise).to(self._tried)
        other = 255 - first
        reached = slice(self.stride_px, side - self.stride_px)
        other[:, :, reached, reached] = first[:, :, reached, reached]
        with torch.inference_mode():
            maps = [self.maps([image] * self.images).float() for image in (first, other)]
        if any(one.shape[1:] != (2 * place + 1, 2 * place + 1) for one in maps):
            return False
        change = (maps[0] - maps[1])[:, place, place].abs().max()
        return bool(change <= SAME * maps[0].std())

    def _normalised(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([self._normalise(image) for image in images], dim=1)


def pooled(
    maps: torch.Tensor, *, tops: Sequence[float], lefts: Sequence[float], side: float
) -> torch.Tensor:
    """Return the means of a map over square windows, (R, K, C * len(INSETS)).

    Places that a window shares in part count by the area that it covers of them, so that means
    change evenly as a window moves.

    Args:
        maps: (C, h, w).
        tops: Where R rows of windows begin, in places of the map; inside it, as are their ends.
        lefts: Where K columns of windows begin.
        side: Of the windows, in places.
    """
    found = []
    for inset in INSETS:
        start, length = inset * side, (1 - 2 * inset) * side
        down = _covered(tops, start, length, maps.shape[1]).to(maps)
        across = _covered(lefts, start, length, maps.shape[2]).to(maps)
        found.append(torch.einsum("rh,chw,kw->rkc", down, maps, across) / length**2)
    return torch.cat(found, dim=2)


def _covered(begins: Sequence[float], start: float, length: float, places: int) -> torch.Tensor:
    """Return how much of each place lies in each interval of that length, 0..1, (N, places)."""
    first = torch.tensor(begins, dtype=torch.float64)[:, None] + start
    place = torch.arange(places, dtype=torch.float64)
    ends = torch.minimum(place + 1, first + length)
    return (ends - torch.maximum(place, first)).clamp(0, 1)


def _groups(layers: Sequence[nn.Module], maps: torch.Tensor) -> Iterator[nn.Sequential]:
    """Yield the layers in groups; the first reaches to where maps are small, then each is one."""
    group: list[nn.Module] = []
    for layer in layers:
        group.append(layer)
        maps = layer(maps)
        if maps.shape[2] * FEWEST_PX <= TRIED_PX:
            yield nn.Sequential(*group)
            group = []
    if group:
        yield nn.Sequential(*group)


def _reach(layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> int:
    """Return how many places beside its own a layer looks at, on the side where it is more.

    A layer whose padding is not its own is taken to look all to one side.
    """
    kernel, stride, padding, dilation = (
        _one(getattr(layer, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    return max(padding, dilation * (kernel - 1) + 1 - padding - stride)


def _one(value: int | tuple[int, ...]) -> int:
    return max(value) if isinstance(value, tuple) else value


def _tiles(length: int) -> list[slice]:
    return [slice(first, min(first + TILE, length)) for first in range(0, length, TILE)]
