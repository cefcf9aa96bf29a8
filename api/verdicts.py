"""What `/v1/predict` answers: verdicts on chips, and what must be known of the model."""

from collections.abc import Sequence

import numpy as np

from api.schemas import Answer
from api.waiting_line import Probabilities
from damagenet.bundle import model_id
from damagenet.card import Card
from damagenet.labels import Label
from damagenet.options import AssessOptions
from damagenet.rules import Rules, verdicts

DIGITS = 6
"""Of a probability, as an assessment writes it."""


class ChipVerdict(Answer):
    """What the model says of one chip."""

    name: str
    """Name of its file; with `#3` the fourth chip of an array."""
    p_damaged: float
    """Calibrated probability that the ground is flooded or damaged, 0 to 1."""
    label: Label
    """damaged, undamaged, or uncertain within the model's band of doubt."""


class Prediction(Answer):
    """Verdicts on chips."""

    model: str
    """Name and short hash of the bundle."""
    threshold: float
    """Probability from which a chip is damaged."""
    uncertain_band: tuple[float, float]
    """Probabilities strictly inside are uncertain; empty where equal."""
    chips: tuple[ChipVerdict, ...]
    """In the order in which they were sent."""
    headline: str
    """Whether numbers of damaged chips may be read as counts."""
    sentence: str
    """How often the model is wrong, as measured."""
    licence: str
    """Licence of the weights."""


EXAMPLE = {
    "model": "harvey-event@0a1b2c3d",
    "threshold": 0.41,
    "uncertain_band": [0.27, 0.55],
    "chips": [
        {"name": "roof.png", "p_damaged": 0.083211, "label": "undamaged"},
        {"name": "street.npy#0", "p_damaged": 0.917404, "label": "damaged"},
    ],
    "headline": "Totals are estimates; the sentence below says how good.",
    "sentence": "Of 100 intact buildings seen after a storm this model flags 20 (15 to 26); "
    "of 100 damaged it finds 84 (80 to 88).",
    "licence": "Apache-2.0, as far as the licence of the training tiles allows",
}
"""For the OpenAPI document; its numbers are made up."""


def prediction(card: Card, names: Sequence[str], probabilities: Probabilities) -> Prediction:
    """Return the verdicts on N chips by the rules of an assessment without options.

    Args:
        card: The model's.
        names: Of the chips, N.
        probabilities: Calibrated probabilities of damage, (N,).
    """
    rules = Rules.of(card, AssessOptions())
    # Judged as they are written, like those of an assessment.
    p = np.array([round(value, DIGITS) for value in probabilities.tolist()])
    labels = verdicts(p, threshold=rules.threshold, uncertain_band=rules.uncertain_band)
    return Prediction(
        model=model_id(card),
        threshold=rules.threshold,
        uncertain_band=rules.uncertain_band,
        chips=tuple(
            ChipVerdict(name=name, p_damaged=value, label=Label(label))
            for name, value, label in zip(names, p.tolist(), labels.tolist(), strict=True)
        ),
        headline=card.headline,
        sentence=card.sentence,
        licence=card.licence,
    )
