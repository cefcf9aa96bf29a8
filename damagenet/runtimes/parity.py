"""Whether two runtimes say the same of the same chips."""

from typing import NamedTuple

import numpy as np

from damagenet.calibration import probabilities
from damagenet.card import Card
from damagenet.errors import BundleError
from damagenet.runtimes.answers import Forward, Images

TOLERANCE = 1e-5
"""Largest difference of calibrated probabilities between two runtimes that count as equal."""
TRIAL_CHIPS = 24


class Parity(NamedTuple):
    """How far two runtimes lie apart: largest differences over the trial chips."""

    probability: float
    """Of calibrated probabilities, 0..1."""
    logit: float


def trial_chips(card: Card) -> tuple[Images, ...]:
    """Return made chips to compare runtimes on, uint8 (24, 3, S, S) for each of the inputs.

    Noise, smooth ground and blocks in turns, and some ground that is not shown (black).
    """
    rng = np.random.default_rng(0)
    size = card.chip.size_px
    return tuple(_chips(rng, size) for _ in card.inputs)


def _chips(rng: np.random.Generator, size: int) -> Images:
    found = np.empty((TRIAL_CHIPS, 3, size, size), np.uint8)
    for number in range(TRIAL_CHIPS):
        # From noise of single pixels to large even blocks: grain is what verdicts hang on.
        block = (1, 4, max(1, size // 8), max(1, size // 2))[number % 4]
        coarse = rng.integers(20, 236, (3, -(-size // block), -(-size // block)))
        fine = coarse.repeat(block, axis=1).repeat(block, axis=2)[:, :size, :size]
        grain = rng.normal(0, 1 + number, fine.shape)
        found[number] = np.clip(fine + grain, 1, 255).astype(np.uint8)
    found[-4:, :, : size // 3] = 0
    return found


def measure_parity(card: Card, one: Forward, other: Forward) -> Parity:
    """Return how far two runtimes lie apart, whole batches and single chips alike."""
    images = trial_chips(card)
    batches = [slice(0, 1), slice(1, 4), slice(4, TRIAL_CHIPS)]
    logits = [
        np.concatenate([forward([image[rows] for image in images])[0].cpu() for rows in batches])
        for forward in (one, other)
    ]
    with np.errstate(invalid="ignore"):  # of NaN: the two then lie infinitely apart
        p = [probabilities(each, card.calibration) for each in logits]
    return Parity(probability=_largest(p[0] - p[1]), logit=_largest(logits[0] - logits[1]))


def _largest(differences: np.ndarray) -> float:
    # A NaN on either side is no agreement.
    return float(np.nan_to_num(np.abs(differences), nan=np.inf).max())


def require_parity(card: Card, one: Forward, other: Forward, *, what: str) -> Parity:
    """Return how far two runtimes lie apart, as `measure_parity`.

    Args:
        card: Of the network that both run.
        one: The network in torch.
        other: The runtime that shall stand in for it.
        what: The other, in words.

    Raises:
        BundleError: If probabilities differ by more than `TOLERANCE`.
    """
    found = measure_parity(card, one, other)
    if found.probability > TOLERANCE:
        raise BundleError(
            f"{what} of model {card.name} and torch differ by {found.probability:.2g} in "
            f"probability, {TOLERANCE:g} is allowed: use --runtime torch for this model"
        )
    return found
