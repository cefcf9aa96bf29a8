"""What every network is: the normalising first layer, the features, and a head of one logit."""

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.normalise import Normalise


class Classifier(nn.Module):
    """Images of one chip in, one logit of damage out.

    Several images of the same ground are stacked along the bands, in the order of the card's
    `inputs`.
    """

    def __init__(
        self, normalise: Normalise, features: nn.Module, head: nn.Linear, *, images: int
    ) -> None:
        """Join the parts.

        Args:
            normalise: First layer, (N, 3, H, W) pixels.
            features: (N, 3 * images, H, W) -> (N, F).
            head: (N, F) -> (N, 1); all that a linear probe trains.
            images: Number of images per chip.
        """
        super().__init__()
        self.normalise = normalise
        self.features = features
        self.head = head
        self.images = images

    def forward(self, *images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1) of images (N, 3, H, W), uint8 or float in 0..255.

        Raises:
            ConfigError: If the number of images, or an image's shape or type, is not what the
                network takes.
        """
        logits: torch.Tensor = self.head(self.embed(*images))
        return logits

    def embed(self, *images: torch.Tensor) -> torch.Tensor:
        """Return what the head sees of the same images, float (N, F).

        Raises:
            ConfigError: If there are more or fewer images than the network takes.
        """
        if len(images) != self.images:
            raise ConfigError(f"the network takes {self.images} image(s) a chip, got {len(images)}")
        stacked = torch.cat([self.normalise(image) for image in images], dim=1)
        features: torch.Tensor = self.features(stacked)
        return features
