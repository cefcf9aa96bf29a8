"""What a contest is about: the scene, its chips, the network, our own way, and who agrees."""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
import torch
from contenders.asked import Asked, ContenderFailedError
from smoke_scene import CHIP_PX
from torch import nn

from damagenet.calibration import probabilities
from damagenet.engine.batch import assess_scenes
from damagenet.inference import Predictor, fused
from damagenet.options import AssessOptions

AGREE = 1e-3
"""Largest difference of a probability that still counts as the same work."""


class FromPixels(nn.Module):
    """A network as the contenders get it: float pixels (N, 3, S, S), 0..255, to logits (N, 1)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1)."""
        logits: torch.Tensor = self.network(images)
        return logits


def chips_of(scene: Path) -> np.ndarray:
    """Return all chips of a scene row by row, uint8 (N, 3, 128, 128)."""
    with rasterio.open(scene) as file:
        pixels = file.read((1, 2, 3))
    across = pixels.shape[1] // CHIP_PX
    cut = pixels.reshape(3, across, CHIP_PX, across, CHIP_PX).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(cut.reshape(-1, 3, CHIP_PX, CHIP_PX))


def save_network(predictor: Predictor, path: Path) -> None:
    """Write the network as TorchScript, which any torch of these years loads."""
    network = FromPixels(fused(predictor.bundle.network)).eval()
    example = torch.zeros(predictor.batch_size, 3, CHIP_PX, CHIP_PX)
    with torch.inference_mode(), warnings.catch_warnings():
        # Of old age, and of checks of the shape, which stay as they were traced.
        warnings.simplefilter("ignore")
        torch.jit.trace(network, example, check_trace=False).save(path)


def written(predictor: Predictor, scene: Path, folder: Path) -> int:
    """Assess the scene into files and return the number of judged chips."""
    options = AssessOptions(
        model=str(predictor.bundle.folder), device="cpu", format=("gpkg", "cog")
    )
    with tempfile.TemporaryDirectory(dir=folder) as out:
        result = assess_scenes([scene], Path(out) / "run", options, predictor=predictor)
    if result.failures:
        sys.exit(result.failures[0].sentence)
    return result.assessments[0].counts.chips


def difference(asked: Asked, predictor: Predictor, chips: np.ndarray) -> float:
    """Return the largest difference of a contender's probabilities to ours.

    Raises:
        ContenderFailedError: If it left out a chip, or its numbers are others than ours.
    """
    across = round(len(chips) ** 0.5)
    theirs = probabilities(asked.logits(across, CHIP_PX), predictor.bundle.card.calibration)
    apart = np.abs(theirs - predictor.probabilities((chips,)))
    if not (largest := float(apart.max())) <= AGREE:
        raise ContenderFailedError(f"its probabilities differ from ours by up to {largest:.3g}")
    return largest
