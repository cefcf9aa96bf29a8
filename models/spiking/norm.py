"""Batch normalisation through time: every time step has its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

EPSILON = 1e-4
MOMENTUM = 0.1


class NormThroughTime(nn.ModuleList):
    """One batch norm for each time step of a layer (Kim and Panda 2021, arXiv:2010.01729)."""

    def __init__(self, channels: int, time_steps: int) -> None:
        """Make the norms of `time_steps` steps over `channels` channels."""
        super().__init__(
            nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM) for _ in range(time_steps)
        )

    def forward(self, steps: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the steps (N, C, H, W) normalised, in single precision or better."""
        for norm, features in zip(self, steps, strict=True):
            half = features.dtype in (torch.bfloat16, torch.float16)
            yield norm(features.float() if half else features)


@contextmanager
def resting_statistics(layers: nn.Module) -> Iterator[None]:
    """Keep batch norms from counting what they see: for a batch that they have seen already."""
    norms = [part for part in layers.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted
