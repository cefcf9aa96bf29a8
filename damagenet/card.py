"""The model card: everything that must be known about a bundle besides its weights."""

import json
import re
from typing import Literal, Protocol

from pydantic import Field

from damagenet.config import Settings
from damagenet.labels import Kind
from damagenet.recipe import ModelSettings, Recipe

FORMAT_VERSION = 1

NUMBERS = re.compile(r"\[\n([-+.,\de\s]+)\]")
"""A JSON list of numbers over several lines; no text of JSON holds a line break."""

ASIDE = "aside"
"""Fold of the protocol `event`: labels that were kept aside."""

Probability = Field(ge=0, le=1)


class ChipGround(Settings):
    """The ground that one chip covers, and its pixels."""

    size_px: int = Field(128, ge=8)
    """Side of a chip in pixels."""
    height_m: float = Field(63.71, gt=0)
    """North-south extent in metres."""
    width_m: float = Field(55.64, gt=0)
    """East-west extent in metres."""


class Calibration(Settings):
    """Makes probabilities of logits: `sigmoid(logit / temperature + bias)`."""

    temperature: float = Field(1.0, gt=0)
    bias: float = 0.0
    fitted_on: str = ""
    """What the two numbers were fitted on, in words."""
    prior: float | None = Field(None, gt=0, lt=1)
    """Share of damaged that the probabilities assume: that of the labels it was fitted to, unless
    the recipe names another, or these are part of a larger random draw, whose share it then is;
    None on older cards."""


class TrainingTiles(Settings):
    """Which tiles the weights have seen."""

    count: int = Field(ge=0)
    split: str
    """The split in words, as in `region:victoria, training part`."""
    manifest_sha256: str
    """SHA-256 of `training_tiles.parquet` (columns lon, lat, label, sha256) in the bundle."""
    licence: str
    """Licence of the training data."""
    non_commercial: bool
    """True where that licence forbids commercial use."""


class Score(Settings):
    """One measured figure with its interval."""

    protocol: Literal[
        "published", "deduplicated", "region", "acquisition", "post-event", "shortcuts", "event"
    ]
    fold: str
    """What was held out: a region's name, a scene's name, or `all`."""
    metric: str
    value: float
    low: float | None = None
    """Lower end of the 95 % interval; None where none can be given."""
    high: float | None = None
    n: int
    """Number of tiles or buildings behind the figure."""
    note: str = ""


class Event(Settings):
    """The event whose labels a bundle was adapted to and calibrated on."""

    scenes: tuple[str, ...]
    """Stems of the scenes that the labels lie on."""
    scene_sha256: tuple[str, ...] = ()
    """SHA-256 of the scenes that hold labels aside which were drawn at random, as assessments keep
    it; none on older cards, so that they promise nothing."""
    units: Kind | None = None
    """What the labels are of; None on older cards."""
    base: str
    """The bundle it was adapted from, as name@hash."""
    fitted: int = Field(ge=0)
    """Labels that the weights were fitted to."""
    aside: int = Field(ge=0)
    """Labels kept aside, in ground of their own: calibration, threshold and scores are theirs."""
    aside_damaged: int = Field(ge=0)
    """Of these, how many are damaged."""
    aside_random: int = Field(ge=0)
    """Of these, how many were drawn at random from all buildings of the scenes."""

    @property
    def random(self) -> bool:
        """Whether all labels kept aside were drawn at random, so that shares can be promised."""
        return 0 < self.aside == self.aside_random


class Confidence(Settings):
    """How far from the threshold the labels of a calibration lie, for any share of errors.

    A margin is `logit(p) - logit(threshold)`: at 0 and above, damage was called.
    """

    damaged: tuple[float, ...]
    """Margins of damaged labels, in ascending order; those below 0 were missed."""
    undamaged: tuple[float, ...]
    """Margins of undamaged labels, likewise; those at 0 and above were false alarms."""


class Strangeness(Settings):
    """How far from the training ground a scene may look, by what held-out ground measures."""

    typical: float = Field(gt=0)
    """Mean distance to the training tiles in the median block of held-out ground: the unit."""
    limit: float = Field(gt=0)
    """95 % of the held-out blocks lie below, in that unit."""
    blocks: int = Field(ge=1)
    """Number of held-out blocks."""
    measured_on: str
    """What the blocks are, in words."""
    neighbours_sha256: str = ""
    """SHA-256 of `neighbours.safetensors` in the bundle."""


class Quantized(Settings):
    """What was lost when a network's convolutions were rounded to eight bits."""

    kind: Literal["int8"]
    network_sha256: str = ""
    """SHA-256 of `model.onnx` in the bundle, the network that the card speaks of."""
    accuracy_loss: float
    """Points of balanced accuracy that it lost at the threshold; below zero where it has gained."""
    auroc_loss: float
    """Points of the area under the ROC curve, likewise."""
    mean_difference: float = Field(ge=0)
    """Mean absolute difference of probabilities, 0..1."""
    measured_on: str
    """The tiles that both were measured on, in words."""


class Card(Settings):
    """The card of one bundle; a card with a field missing is refused.

    Fields that may be None came later: a bundle without them is read, and what they are for is
    said to be not measured.
    """

    format_version: int
    name: str
    created: str
    """When it was made (ISO 8601, UTC)."""
    model: ModelSettings
    """Architecture and activation, as built."""
    inputs: tuple[Literal["post", "pre"], ...]
    """The pictures that one chip is made of, in order."""
    classes: tuple[str, str]
    pixel_mean: tuple[float, float, float]
    """Mean of red, green and blue over the training tiles, 0..255."""
    pixel_std: tuple[float, float, float]
    chip: ChipGround
    calibration: Calibration
    threshold: float = Probability
    uncertain_band: tuple[float, float]
    """Calibrated probabilities strictly inside are labelled uncertain; empty where equal."""
    class_prior: float = Probability
    """Share of damaged tiles in the training part."""
    event: Event | None = None
    """The event it was adapted to; None for a bundle that is calibrated on other ground."""
    confidence: Confidence | None = None
    """What `--max-error` is answered from."""
    strangeness: Strangeness | None = None
    """What a scene is compared to; None where it was not measured."""
    quantized: Quantized | None = None
    """What it lost by quantisation; None for a network in float32."""
    standardised: dict[str, int] | None = None
    """Stages that fixed standardisation stands before, with the channels that enter them."""
    firing_rates: dict[str, float] | None = None
    """Share of neurons and time steps that spike by layer, 0..1; None where nothing spikes."""
    training_tiles: TrainingTiles
    scores: tuple[Score, ...]
    licence: str
    """Licence of the weights."""
    command: str
    """The command that made the bundle."""
    recipe: Recipe
    versions: dict[str, str]
    """Versions of damagenet, torch and what else shaped the weights."""
    weights_sha256: str

    def score(self, protocol: str, metric: str, fold: str = "all") -> Score | None:
        """Return one measured figure, or None where it was not measured."""
        for score in self.scores:
            if (score.protocol, score.metric, score.fold) == (protocol, metric, fold):
                return score
        return None

    def as_json(self) -> str:
        """Return the text of `card.json`; rows of numbers stand on one line."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        return NUMBERS.sub(lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"

    @property
    def prior(self) -> float:
        """Share of damaged units at which its probabilities mean what they say."""
        return self.class_prior if self.calibration.prior is None else self.calibration.prior

    def after_storm(self, metric: str) -> Score | None:
        """Return what was measured on buildings seen after a storm, or None.

        Of an adapted bundle these are the labels of its event that were kept aside; of others the
        scenes of the post-event protocol.
        """
        if self.event is not None:
            return self.score("event", metric, ASIDE)
        return self.score("post-event", metric)

    @property
    def ranking_only(self) -> bool:
        """True where totals must not be read as counts: over 30 false alarms in 100, or unknown."""
        alarms = self.after_storm("false_alarm_rate")
        return alarms is None or alarms.value > 0.30

    @property
    def headline(self) -> str:
        """What a reader must know first: whether the totals are counts."""
        if not self.ranking_only:
            return "Totals are estimates; the sentence below says how good."
        return "Ranking only, not a count"

    @property
    def sentence(self) -> str:
        """What the model does to 100 intact and to 100 damaged buildings, as measured."""
        said = flags_in_words(self.after_storm("false_alarm_rate"), self.after_storm("recall"))
        if self.event is not None:
            said += f" Measured on {self.event.aside} labels of its event that were kept aside."
        if self.quantized is not None:
            said += (
                f" Measured before its quantisation to {self.quantized.kind}, which cost "
                f"{self.quantized.accuracy_loss:.2f} points of balanced accuracy."
            )
        return said


class Figure(Protocol):
    """A share with its interval, as a `Score` is."""

    @property
    def value(self) -> float | None:
        """The share, 0..1; None where it does not exist."""

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""

    @property
    def high(self) -> float | None:
        """Upper end."""


def flags_in_words(alarms: Figure | None, recall: Figure | None) -> str:
    """Return what a model does to 100 intact and to 100 damaged buildings seen after a storm.

    Args:
        alarms: Share of intact buildings that it flags; None where nobody measured it.
        recall: Share of damaged buildings that it finds.
    """
    flagged, found = _percent(alarms), _percent(recall)
    if not flagged or not found:
        return "How many intact buildings this model flags after a storm was not measured."
    return (
        f"Of 100 intact buildings seen after a storm this model flags {flagged}; "
        f"of 100 damaged it finds {found}."
    )


def _percent(share: Figure | None) -> str:
    if share is None or share.value is None:
        return ""
    if share.low is None or share.high is None:
        return f"{100 * share.value:.0f}"
    return f"{100 * share.value:.0f} ({100 * share.low:.0f} to {100 * share.high:.0f})"
