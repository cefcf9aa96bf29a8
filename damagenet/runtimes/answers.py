"""What a runtime answers for one batch, and the network that is exported to answer it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.classifier import Classifier

Images = npt.NDArray[np.uint8]


class Answers(NamedTuple):
    """What a network says of N chips; also what an exported file returns, in this order.

    Attributes:
        logits: Uncalibrated, float32 (N,).
        features: What the head has seen, float32 (N, F).
    """

    logits: torch.Tensor
    features: torch.Tensor


Forward = Callable[[Sequence[Images]], Answers]
"""One array uint8 (N, 3, S, S) for each of the card's `inputs` -> answers; never for N = 0."""


class Answering(nn.Module):
    """A network that returns its features beside its logits."""

    def __init__(self, network: Classifier) -> None:
        """Take over a network in evaluation mode."""
        super().__init__()
        self.network = network

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N,) and features (N, F) of images uint8 (N, 3, S, S), in float32."""
        features = self.network.embed(*images)
        logits: torch.Tensor = self.network.head(features)
        return logits.squeeze(1).float(), features.float()


def torch_forward(answering: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> Forward:
    """Return a forward pass on the CPU, by torch alone."""

    def forward(images: Sequence[Images]) -> Answers:
        with torch.inference_mode():
            return Answers(*answering(*(torch.from_numpy(image) for image in images)))

    return forward
