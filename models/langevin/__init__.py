"""Optimisers that add noise to their steps, everywhere or in chosen layers."""

from models.langevin.layers import noisy_parameters
from models.langevin.noise import Langevin, Noise
from models.langevin.optimisers import LSGD, LAdadelta, LAdam, LAdam2, LRMSprop

__all__ = [
    "LSGD",
    "LAdadelta",
    "LAdam",
    "LAdam2",
    "LRMSprop",
    "Langevin",
    "Noise",
    "noisy_parameters",
]
