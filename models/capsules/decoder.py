"""The picture that a capsule describes; only training asks for it."""

import torch
from torch import nn

HIDDEN = (512, 1024)


class Decoder(nn.Module):
    """Draws a picture from the capsule of one class (arXiv:1710.09829)."""

    def __init__(self, *, capsules: tuple[int, int], picture: tuple[int, int, int]) -> None:
        """Make the layers.

        Args:
            capsules: Number of classes and dimension of their capsules, K and P.
            picture: Bands, height and width of what is drawn, C, H and W.
        """
        super().__init__()
        first, second = HIDDEN
        bands, height, width = picture
        self.layers = nn.Sequential(
            nn.Linear(capsules[0] * capsules[1], first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, bands * height * width),
            nn.Sigmoid(),
            nn.Unflatten(1, picture),
        )

    def forward(self, capsules: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Return pictures (N, C, H, W), 0..1.

        Args:
            capsules: Of all classes, (N, K, P).
            shown: The class whose capsule is drawn, int64 (N,); the others are masked.
        """
        mask = nn.functional.one_hot(shown, capsules.shape[1]).to(capsules.dtype)
        pictures: torch.Tensor = self.layers((capsules * mask.unsqueeze(2)).flatten(1))
        return pictures
