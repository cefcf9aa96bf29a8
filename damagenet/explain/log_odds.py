"""What is explained: the calibrated log-odds of one class, by a copy of a bundle's network."""

import torch
from torch import nn

from damagenet.bundle import Bundle
from damagenet.card import Calibration
from damagenet.errors import ConfigError
from damagenet.explain.names import Target
from damagenet.explain.rectifiers import put_gates
from damagenet.inference import fused
from models.architectures import find_architecture
from models.classifier import Classifier


class LogOdds(nn.Module):
    """Images of N chips in, the log-odds of a class out, one number a chip.

    Zero is even odds; each unit multiplies the odds by e. The numbers are calibrated, so that
    `sigmoid` of them is the probability that verdicts are made of.
    """

    def __init__(self, network: Classifier, calibration: Calibration, target: Target) -> None:
        super().__init__()
        self.network = network
        self.temperature = calibration.temperature
        self.bias = calibration.bias
        self.sign = 1.0 if target == "damaged" else -1.0

    def forward(self, *images: torch.Tensor) -> torch.Tensor:
        """Return (N,) of images (N, 3, S, S), float in 0..255."""
        logits: torch.Tensor = self.network(*images)
        return self.sign * (logits.squeeze(1) / self.temperature + self.bias)


def log_odds_of(bundle: Bundle, target: Target, device: torch.device) -> LogOdds:
    """Return what is to be explained; the bundle's own network stays as it is.

    Args:
        bundle: From `load_bundle`.
        target: The class that a map speaks for.
        device: Where it computes.

    Raises:
        ConfigError: If the network is one whose gradients are made up.
    """
    family = find_architecture(bundle.card.model.architecture).family
    if family == "spiking":
        raise ConfigError(
            f"model {bundle.card.name} is a spiking network: its spikes have no gradient, the one "
            "it is trained by is made up, so that no map of it can be trusted"
        )
    network = fused(bundle.network)
    put_gates(network)
    network.requires_grad_(requires_grad=False)
    return LogOdds(network, bundle.card.calibration, target).eval().to(device)
