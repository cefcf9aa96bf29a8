"""The size of what enters every activation site, for functions with one parameter per pixel."""

from collections.abc import Callable

import torch
from torch import nn

from damagenet.recipe import Choice
from models.activations import Activation, ActivationMaker

Shape = tuple[int, ...]


class NotingMaker(ActivationMaker):
    """Makes ReLUs and keeps them in order."""

    def __init__(self) -> None:
        super().__init__(Choice(name="relu"))
        self.sites: list[Activation] = []

    def __call__(self, channels: int, *, dim: int = 1) -> Activation:
        """Return a fresh site, as every maker does."""
        site = super().__call__(channels, dim=dim)
        self.sites.append(site)
        return site


def site_shapes(
    build: Callable[..., tuple[nn.Module, int]], *, channels_in: int, size_px: int
) -> list[Shape]:
    """Return (C, H, W) of every site, in the order in which an architecture makes them.

    A stand-in is built and run on torch's `meta` device, which has shapes and no memory.

    Args:
        build: Takes a maker as `make`; returns features and their number.
        channels_in: Bands that enter the features.
        size_px: Side of the images that enter.
    """
    maker = NotingMaker()
    found: dict[nn.Module, Shape] = {}

    def note(site: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        found[site] = tuple(given[0].shape[1:])

    with torch.device("meta"):
        features, _ = build(make=maker)
        features.eval()
        for site in maker.sites:
            site.register_forward_pre_hook(note)
        features(torch.empty(1, channels_in, size_px, size_px))
    return [found[site] for site in maker.sites]
