"""Losses by name."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn, tensor
from torch.nn import functional as F

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice
from models.capsules.decoder import Decoder
from models.capsules.mocapsnet import MoCapsNet, lengths_and_capsules
from models.classifier import Classifier

PRESENT, ABSENT = 0.9, 0.1
"""Length that the capsule of the true class shall pass, and that others shall not."""
ABSENT_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a network made of a batch.

    Attributes:
        images: What entered, uint8 (N, 3, S, S), one tensor for each input.
        features: What its head saw, (N, F).
        logits: Of damage, float32 (N,).
    """

    images: Sequence[Tensor]
    features: Tensor
    logits: Tensor


Loss = Callable[[Outcome, Tensor], Tensor]
"""Takes an outcome and labels (N,) of 0 or 1; returns the mean loss. May have parameters to train,
which stay out of the bundle."""
LossFor = Callable[[Classifier], Loss]
"""Makes the loss of one network."""


def bce(*, label_smoothing: float = 0.0, positive_weight: float = 1.0) -> LossFor:
    """Return the binary cross entropy.

    Args:
        label_smoothing: Share of each label that is moved to 0.5 (arXiv:1512.00567), below 1.
        positive_weight: Weight of damaged tiles against undamaged ones, above 0.

    Raises:
        ConfigError: If one of them is out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing must be within 0..1 (below 1), got {label_smoothing}")
    if not 0 < positive_weight < math.inf:
        raise ConfigError(f"positive_weight must be above 0 and finite, got {positive_weight}")

    def loss(outcome: Outcome, labels: Tensor) -> Tensor:
        smooth = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        weight = tensor(positive_weight, device=outcome.logits.device)
        return F.binary_cross_entropy_with_logits(outcome.logits, smooth, pos_weight=weight)

    return lambda network: loss


def margin(*, reconstruction: float = 0.0005) -> LossFor:
    """Return the margin loss of capsule lengths (arXiv:1710.09829).

    Args:
        reconstruction: Weight of the squared error, summed over the picture, of what a decoder
            draws from the capsule of the true class; 0 trains no decoder.

    Raises:
        ConfigError: If it is negative or not finite.
    """
    if not 0 <= reconstruction < math.inf:
        raise ConfigError(f"reconstruction must be at least 0 and finite, got {reconstruction}")
    return partial(MarginLoss, reconstruction=reconstruction)


class MarginLoss(nn.Module):
    """The margin loss, with the decoder that is trained beside the network."""

    def __init__(self, network: Classifier, *, reconstruction: float) -> None:
        """Make the decoder.

        Raises:
            ConfigError: If the network has no capsules.
        """
        super().__init__()
        features = network.features
        if not isinstance(features, MoCapsNet):
            raise ConfigError("the margin loss is for networks of capsules: choose mocapsnet")
        self.reconstruction = reconstruction
        self.decoder = (
            Decoder(capsules=features.capsules, picture=features.picture)
            if reconstruction
            else None
        )
        self.side = features.picture[1]

    def forward(self, outcome: Outcome, labels: Tensor) -> Tensor:
        """Return the mean over the batch.

        The decoder draws the true class in training, and the longest capsule in evaluation.
        """
        lengths, capsules = lengths_and_capsules(outcome.features.float())
        truth = labels.long()
        loss = margin_loss(lengths, truth)
        if self.decoder is None:
            return loss
        drawn = self.decoder(capsules, truth if self.training else lengths.argmax(dim=1))
        errors = (drawn - seen_picture(outcome.images, self.side)).square().sum(dim=(1, 2, 3))
        total: Tensor = loss + self.reconstruction * errors.mean()
        return total


def margin_loss(lengths: Tensor, labels: Tensor) -> Tensor:
    """Return the mean margin loss of capsule lengths (N, K) and labels int64 (N,)."""
    truth = F.one_hot(labels, lengths.shape[1])
    missed = truth * F.relu(PRESENT - lengths).square()
    imagined = ABSENT_WEIGHT * (1 - truth) * F.relu(lengths - ABSENT).square()
    return (missed + imagined).sum(dim=1).mean()


def seen_picture(images: Sequence[Tensor], side: int) -> Tensor:
    """Return what a decoder shall draw: pixels 0..1 of all images, averaged to `side`."""
    pictures = torch.cat([image.float() / 255 for image in images], dim=1)
    return F.interpolate(pictures, size=(side, side), mode="area")


LOSSES: dict[str, Callable[..., LossFor]] = {"bce": bce, "margin": margin}


def build_loss(choice: Choice) -> LossFor:
    """Return the loss; raise ConfigError if its name or a parameter is unknown or out of range."""
    check_choice("loss", choice, LOSSES)
    return LOSSES[choice.name](**choice.parameters)
