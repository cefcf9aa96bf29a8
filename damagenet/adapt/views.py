"""The same ground turned and in other light: what an adaptation learns to see past."""

from collections.abc import Sequence

import numpy as np
import torch

SYMMETRIES = 8
"""Of the square: four turns, each also mirrored."""
CONTRAST = 0.15
"""Standard deviation of the gain on a chip's contrast."""
LIGHT = 9.0
"""Standard deviation of what is added to each band of a chip, of 255."""

Images = Sequence[torch.Tensor]


def turned(images: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Return images (N, C, S, S) under one of the eight symmetries of the square; 0 leaves them.

    Args:
        images: Pictures or features.
        symmetry: Its number, 0..7.
    """
    mirrored = images.transpose(-1, -2) if symmetry & 4 else images
    return torch.rot90(mirrored, symmetry & 3, (-2, -1))


def relit(images: Images, rng: np.random.Generator) -> list[torch.Tensor]:
    """Return chips in other light: contrast and colour cast drawn for each chip.

    Without it a network tells the classes by the light of the few places with labels. All pictures
    of a chip get the same, as what differs between them is what is looked for.

    Args:
        images: Pictures of N chips, each (N, 3, S, S) in 0..255.
        rng: Where the light comes from.
    """
    count = len(images[0])
    gain = torch.from_numpy(1 + CONTRAST * rng.standard_normal((count, 1, 1, 1))).float()
    cast = torch.from_numpy(LIGHT * rng.standard_normal((count, 3, 1, 1))).float()
    changed = []
    for image in images:
        pixels = image.float()
        mean = pixels.mean(dim=(2, 3), keepdim=True)
        changed.append(((pixels - mean) * gain + mean + cast).clamp(0, 255))
    return changed
