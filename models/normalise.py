"""The first layer of every network: pixels 0..255 become zero-mean, unit-variance features."""

from collections.abc import Sequence

import torch
from torch import nn

from damagenet.errors import ConfigError


class Normalise(nn.Module):
    """Subtracts the mean and divides by the deviation of each band.

    Both are buffers, so that they travel with the weights and nothing outside the network
    prepares pixels.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, smallest_px: int = 1
    ) -> None:
        """Keep the statistics of red, green and blue, in 0..255.

        Args:
            mean: Mean of each band.
            std: Standard deviation of each band, above zero.
            smallest_px: Images with a shorter side are refused.

        Raises:
            ConfigError: If there are not three of each or a deviation is not above zero.
        """
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ConfigError(
                f"pixel statistics need three means and three deviations above zero, "
                f"got {tuple(mean)} and {tuple(std)}"
            )
        self.smallest_px = smallest_px
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise (N, 3, H, W) uint8 or float in 0..255 to float32 of the same shape.

        Raises:
            ConfigError: If the rank, the number of bands, the size or the type is wrong, or the
                batch is empty.
        """
        self._check(images)
        # Channels-last is the faster layout for convolutions on CPU and on tensor cores.
        pixels = images.to(torch.float32, memory_format=torch.channels_last)
        return (pixels - self.mean) / self.std

    def _check(self, images: torch.Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ConfigError(f"images must be (N, 3, H, W), got {tuple(images.shape)}")
        if images.shape[0] == 0:
            raise ConfigError("the batch is empty: pass at least one image")
        if min(images.shape[2:]) < self.smallest_px:
            raise ConfigError(
                f"images must be at least {self.smallest_px} px on each side, "
                f"got {images.shape[2]} x {images.shape[3]}"
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ConfigError(f"images must be uint8 or float in 0..255, got {images.dtype}")


def black_after(mean: Sequence[float], std: Sequence[float]) -> tuple[float, ...]:
    """Return what red, green and blue of zero become with these statistics of 0..255."""
    return tuple(-centre / spread for centre, spread in zip(mean, std, strict=True))
