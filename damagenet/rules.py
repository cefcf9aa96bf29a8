"""The rules of verdicts: calibration, threshold and band of doubt, from a card and the options.

`--prior` multiplies the odds of damage by wanted / (1 - wanted) over card / (1 - card) (Saerens,
Latinne and Decaestecker 2002, Neural Computation 14:21-41): right where damaged and undamaged
ground each look as they did in calibration and only their shares differ. The card's threshold and
band move with the probabilities, so that `--prior` alone turns no verdict: the threshold was chosen
for the best balanced accuracy, which no share of damage changes, and the recall and false alarms
on the card were measured at it. A `--threshold` is read in the re-weighted probabilities: 0.5 then
calls damaged what is damaged more likely than not. So does `--max-error`: its band is what keeps
the share of errors where the wanted share is damaged.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from damagenet.card import Calibration, Card
from damagenet.confidence import at_prior, confident_distance, labels_needed, logits
from damagenet.errors import ConfigError
from damagenet.labels import Label
from damagenet.options import AssessOptions

RESOLVED = 1e-6
"""Probabilities are written, and judged, to so much."""
EVERYTHING = (-RESOLVED, 1 + RESOLVED)
"""The band that holds 0 and 1 as well."""

Kept = Literal["not asked", "kept", "too few labels", "not kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What turns logits into verdicts.

    Attributes:
        calibration: Makes probabilities of logits, at the wanted prior.
        threshold: Probability from which a unit is damaged.
        uncertain_band: Probabilities strictly inside are uncertain; empty where equal.
        kept: Whether a band keeps `--max-error` on the calibration labels.
        labels: Calibration labels that this was tested on; 0 where it was not asked.
    """

    calibration: Calibration
    threshold: float
    uncertain_band: tuple[float, float]
    kept: Kept = "not asked"
    labels: int = 0

    @classmethod
    def of(cls, card: Card, options: AssessOptions) -> Self:
        """Return the rules of an assessment.

        Raises:
            ConfigError: If `--max-error` asks for what the card does not keep.
        """
        shift = 0.0 if options.prior is None else _log_odds(options.prior) - _log_odds(card.prior)
        calibration = reweighted(card.calibration, shift, options.prior)
        own = moved(card.threshold, shift)
        threshold = own if options.threshold is None else options.threshold
        if options.max_error is not None:
            return cls._promising(card, options, calibration, own=own, threshold=threshold)
        low, high = (moved(edge, shift) for edge in card.uncertain_band)
        # The band says where the card's own threshold is in doubt, and no other threshold.
        band = (low, high) if low <= threshold <= high else (threshold, threshold)
        return cls(calibration=calibration, threshold=threshold, uncertain_band=band)

    @classmethod
    def _promising(
        cls,
        card: Card,
        options: AssessOptions,
        calibration: Calibration,
        *,
        own: float,
        threshold: float,
    ) -> Self:
        """Return the rules whose band keeps `--max-error`."""
        assert options.max_error is not None
        confidence = card.confidence
        if confidence is None:
            raise ConfigError(
                f"--max-error {options.max_error:g} needs the margins of calibration labels, which "
                f"model {card.name} does not keep: add them with `damagenet models complete`, or "
                "leave --max-error out"
            )
        confidence = at_prior(confidence, options.prior or card.prior)
        centre = float(logits(threshold))
        half = confident_distance(confidence, options.max_error, shift=centre - float(logits(own)))
        labels = len(confidence.damaged) + len(confidence.undamaged)
        band, kept = EVERYTHING, _not_kept(labels, options.max_error)
        if half is not None:
            low, high = (_sigmoid(centre + side) for side in (-half, half))
            # An edge that no file can tell from 0 or 1 would let stand what was not tested.
            if half == 0 or (low > RESOLVED and high < 1 - RESOLVED):
                band, kept = (low, high) if half else (threshold, threshold), "kept"
        return cls(
            calibration=calibration,
            threshold=threshold,
            uncertain_band=band,
            kept=kept,
            labels=labels,
        )


def verdicts(
    probability: NDArray[np.float64], *, threshold: float, uncertain_band: tuple[float, float]
) -> NDArray[np.str_]:
    """Return the label of each probability (N,), `not-judged` where it is NaN.

    Args:
        probability: Calibrated probabilities of damage.
        threshold: Probability from which a unit is damaged.
        uncertain_band: Probabilities strictly inside are uncertain.
    """
    low, high = uncertain_band
    return np.select(
        [
            np.isnan(probability),
            (low < probability) & (probability < high),
            probability >= threshold,
        ],
        [Label.NOT_JUDGED.value, Label.UNCERTAIN.value, Label.DAMAGED.value],
        Label.UNDAMAGED.value,
    )


def reweighted(calibration: Calibration, shift: float, prior: float | None) -> Calibration:
    """Return a calibration whose log odds of damage are all larger by `shift`."""
    if prior is None:
        return calibration
    update = {"bias": calibration.bias + shift, "prior": prior}
    return calibration.model_copy(update=update)


def least_error(card: Card, options: AssessOptions) -> float | None:
    """Return the smallest `--max-error` that lets verdicts stand, in whole percents.

    Args:
        card: The model's card, which keeps the margins of its calibration labels.
        options: Their `max_error` is kept by no band; smaller ones are not tried.

    Returns:
        None where nothing under 0.5 does.
    """
    for percent in range(math.floor(100 * (options.max_error or 0)) + 1, 50):
        asked = options.model_copy(update={"max_error": percent / 100})
        if Rules.of(card, asked).kept == "kept":
            return percent / 100
    return None


def _not_kept(labels: int, max_error: float) -> Kept:
    return "too few labels" if labels < labels_needed(max_error) else "not kept"


def moved(p: float, shift: float) -> float:
    """Return a probability with its log odds larger by `shift`; 0 and 1 stay."""
    if shift == 0 or p in (0, 1):
        return p
    return _sigmoid(_log_odds(p) + shift)


def _log_odds(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
