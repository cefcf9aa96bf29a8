"""Views of chips that take away all cues but one, to see what a network leans on."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Chips = npt.NDArray[np.uint8]

LEAST_DEVIATION = 1.0
"""A band of one flat value is not divided by its deviation."""


def shuffled(chips: Chips, rng: np.random.Generator) -> Chips:
    """Return chips whose pixels change places: only their colours are left.

    Args:
        chips: uint8 (N, 3, S, S).
        rng: Draws one order of pixels for each chip.
    """
    flat = chips.reshape(*chips.shape[:2], -1)
    order = rng.permuted(np.tile(np.arange(flat.shape[2]), (len(chips), 1)), axis=1)
    return np.take_along_axis(flat, order[:, None, :], axis=2).reshape(chips.shape)


def recoloured(chips: Chips, references: Chips) -> Chips:
    """Return chips with the mean and deviation of each band of other chips.

    Args:
        chips: uint8 (N, 3, S, S).
        references: Whose colours they take, uint8 (N, 3, S, S).
    """
    (mean, deviation), (own_mean, own_deviation) = _colours(references), _colours(chips)
    changed = (chips - own_mean) / own_deviation * deviation + mean
    return np.asarray(np.rint(changed).clip(0, 255), dtype=np.uint8)


def blurred(chips: Chips, *, sigma_px: float) -> Chips:
    """Return chips without fine structure: a Gaussian blur of each band.

    Args:
        chips: uint8 (N, 3, S, S).
        sigma_px: Deviation of the Gaussian in pixels, above 0.
    """
    smooth = gaussian_filter(chips.astype(np.float32), sigma_px, axes=(2, 3), mode="nearest")
    return np.asarray(np.rint(smooth).clip(0, 255), dtype=np.uint8)


def _colours(chips: Chips) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return mean and deviation of each band, (N, 3, 1, 1)."""
    pixels = chips.astype(np.float32)
    mean = pixels.mean(axis=(2, 3), keepdims=True)
    deviation = pixels.std(axis=(2, 3), keepdims=True)
    return mean, np.maximum(deviation, LEAST_DEVIATION)
