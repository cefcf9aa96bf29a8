"""How a picture enters a spiking network: as it is, or as random spikes."""

from typing import Literal

import torch
from torch import nn

Coding = Literal["direct", "poisson"]

SEED = 0
"""Of the numbers that pictures are compared with outside training."""


class PoissonCoding(nn.Module):
    """Draws spikes at each time step: the sign of x where 2 * uniform <= |x|.

    Takes normalised pictures: values beyond 2 would spike at every step. In training the numbers
    come from torch's global generator. In evaluation one fixed field of numbers meets every
    picture, so that a chip's verdict depends neither on its neighbours nor on what was drawn
    before, on any device.
    """

    def __init__(self, time_steps: int, channels: int, size_px: int) -> None:
        """Draw the fixed numbers.

        Args:
            time_steps: How often spikes are drawn.
            channels: Bands of the pictures.
            size_px: Side of the usual pictures; others cost a draw at every call.
        """
        super().__init__()
        self.time_steps = time_steps
        # Three dimensions, as more are taken for pictures whose memory shall be laid out anew.
        self.fixed: torch.Tensor
        self.register_buffer(
            "fixed",
            _fixed((time_steps, channels, size_px, size_px)).flatten(0, 1),
            persistent=False,
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return -1, 0 and 1, float (T * N, C, H, W), of normalised images (N, C, H, W)."""
        if self.training:
            uniform = torch.rand(self.time_steps, *images.shape, device=images.device)
        else:
            # The fixed numbers are drawn on the CPU, also for an outline on torch's `meta` device.
            uniform = self._same_for_all(*images.shape[1:]).unsqueeze(1).to(images.device)
        spikes = torch.where(2 * uniform <= images.abs(), images.sign(), 0.0)
        return spikes.flatten(0, 1).contiguous(memory_format=torch.channels_last)

    def _same_for_all(self, channels: int, height: int, width: int) -> torch.Tensor:
        if self.fixed.shape[1:] == (height, width):
            return self.fixed.view(self.time_steps, channels, height, width)
        return _fixed((self.time_steps, channels, height, width)).to(self.fixed.device)


def _fixed(shape: tuple[int, ...]) -> torch.Tensor:
    """Return numbers within 0..1 that depend on the shape alone."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(SEED), device="cpu")
