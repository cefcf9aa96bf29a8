"""An activation under a ceiling."""

import torch
from torch import nn

from models.activations import Activation


class Clipped(nn.Module):
    """Clips an activation from above, as ReLU6 does, where the network was trained with a clip."""

    def __init__(self, activation: Activation, ceiling: float) -> None:
        super().__init__()
        self.activation = activation
        self.ceiling = ceiling

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return min(activation(features), ceiling), of the same shape."""
        result: torch.Tensor = self.activation(features)
        return result.clamp(max=self.ceiling)
