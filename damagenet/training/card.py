"""The card of a freshly trained network: calibration, threshold, prior and where it came from."""

import datetime as dt
import logging
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt
import torch

from damagenet import __version__
from damagenet.calibration import (
    balanced_threshold,
    fit_calibration,
    probabilities,
    uncertain_band,
)
from damagenet.card import (
    FORMAT_VERSION,
    Calibration,
    Card,
    ChipGround,
    Confidence,
    Strangeness,
    TrainingTiles,
)
from damagenet.confidence import confidence_curve
from damagenet.devices import best_batch
from damagenet.labels import CLASSES
from damagenet.recipe import ModelSettings, Recipe
from damagenet.strangeness import MOST_TILES, Neighbours, held_out_strangeness
from damagenet.training.data import TrainingData
from data_prep.datasets import tile_tensor
from data_prep.splits import spatial_blocks
from models.classifier import Classifier
from models.factory import as_built
from models.spiking.rates import firing_rates
from models.standardise import standardised

log = logging.getLogger(__name__)

HARVEY_LICENCE = (
    "CC BY 4.0 according to the Hugging Face card of the tiles, which points at IEEE DataPort "
    "(doi 10.21227/sdad-1e56); whether DigitalGlobe's own terms for the imagery also bind is "
    "unconfirmed: have it checked before commercial use"
)
WEIGHTS_LICENCE = "Apache-2.0, as far as the licence of the training tiles allows"
IMAGENET_LICENCE = " and that of the ImageNet weights it started from"
RATED_TILES = 64
"""How many validation tiles firing rates are measured on."""
VERSIONED = ("torch", "lightning", "albumentations", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a training found out about its network.

    Attributes:
        calibration: Makes probabilities of logits.
        threshold: Probability from which damage is called.
        uncertain_band: Probabilities inside are uncertain.
        class_prior: Share of the damaged among what was learned from.
        confidence: How far from the threshold the calibration labels lie.
        strangeness: What is usual on held-out ground; None where too little was held out.
        tiles: What the weights have seen; its hash comes with saving.
        licence: Of the weights; None for that of networks which learned from the tiles alone.
        firing_rates: By layer; None where nothing spikes.
    """

    calibration: Calibration
    threshold: float
    uncertain_band: tuple[float, float]
    class_prior: float
    confidence: Confidence
    strangeness: Strangeness | None
    tiles: TrainingTiles
    licence: str | None = None
    firing_rates: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described:
    """A trained network as its bundle describes it.

    Attributes:
        card: All but its hashes and scores.
        neighbours: Training tiles to compare chips with; None where too little ground is held out.
    """

    card: Card
    neighbours: Neighbours | None


def describe_network(
    recipe: Recipe, data: TrainingData, network: Classifier, *, command: str
) -> Described:
    """Return the card of a trained network and the tiles that it compares chips with.

    Args:
        recipe: What it was trained by.
        data: What it was trained and validated on.
        network: Trained; left in evaluation mode.
        command: The command that made it.

    Raises:
        EvaluationError: If the network diverged or the validation part lacks a class.
    """
    labels = data.tiles.labels[data.split.validation].astype(np.int64)
    features = tile_features(network, data, data.split.validation)
    logits = head_logits(network, features)
    calibration = fit_calibration(logits, labels, fitted_on=fitted_on(data))
    calibration = calibration.model_copy(update={"prior": float(labels.mean())})
    p = probabilities(logits, calibration)
    threshold = balanced_threshold(p, labels)
    strangeness, neighbours = measure_strangeness(network, data, features)
    facts = CardFacts(
        calibration=calibration,
        threshold=threshold,
        uncertain_band=uncertain_band(p, labels, threshold),
        class_prior=data.class_prior,
        confidence=confidence_curve(p, labels, threshold),
        strangeness=strangeness,
        tiles=_training_tiles(data, recipe.model),
        firing_rates=_firing_rates(network, data),
    )
    card = make_card(recipe, network, facts, command=command)
    return Described(card=card, neighbours=neighbours)


def make_card(recipe: Recipe, network: Classifier, facts: CardFacts, *, command: str) -> Card:
    """Return the card of a network by what its training found, all but its hashes and scores."""
    imagenet = IMAGENET_LICENCE if recipe.model.from_imagenet else ""
    return Card(
        format_version=FORMAT_VERSION,
        name=recipe.name,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        model=as_built(recipe.model),
        inputs=recipe.data.inputs,
        classes=CLASSES,
        pixel_mean=_three(network.normalise.mean),
        pixel_std=_three(network.normalise.std),
        chip=ChipGround(),
        calibration=facts.calibration,
        threshold=facts.threshold,
        uncertain_band=facts.uncertain_band,
        class_prior=facts.class_prior,
        confidence=facts.confidence,
        strangeness=facts.strangeness,
        standardised=standardised(network) or None,
        firing_rates=facts.firing_rates,
        training_tiles=facts.tiles,
        scores=(),
        licence=(facts.licence or WEIGHTS_LICENCE) + imagenet,
        command=command,
        recipe=recipe,
        versions=_versions(),
        weights_sha256="",
    )


def fitted_on(data: TrainingData) -> str:
    """Return in words what a calibration on the validation part is fitted on."""
    return f"validation part of {data.split.name}, {len(data.split.validation)} tiles"


def measure_strangeness(
    network: Classifier, data: TrainingData, held_out: torch.Tensor
) -> tuple[Strangeness, Neighbours] | tuple[None, None]:
    """Return how far held-out ground lies from training tiles, and these tiles.

    Args:
        network: Trained, in evaluation mode.
        data: What it was trained and validated on.
        held_out: Features (N, F) of the validation part.

    Returns:
        None twice where the validation part holds too few blocks of ground.
    """
    rows = data.split.train
    return strangeness_of(tile_features(network, data, rows[compared(len(rows))]), data, held_out)


def compared(count: int) -> npt.NDArray[np.int64]:
    """Return the places of the training tiles, of so many, that others are compared with."""
    return np.linspace(0, count - 1, min(count, MOST_TILES)).astype(np.int64)


def strangeness_of(
    learned: torch.Tensor, data: TrainingData, held_out: torch.Tensor
) -> tuple[Strangeness, Neighbours] | tuple[None, None]:
    """Return the same as `measure_strangeness` by features that are there already.

    Args:
        learned: Features (n, F) of the training tiles to compare with.
        data: What was trained and validated on.
        held_out: Features (N, F) of the validation part.
    """
    neighbours = Neighbours.of(learned)
    places = data.tiles.manifest.iloc[data.split.validation]
    found = held_out_strangeness(
        neighbours.distances(held_out).numpy().astype(np.float64),
        spatial_blocks(places["lon"].to_numpy(), places["lat"].to_numpy()),
        measured_on=fitted_on(data),
    )
    return (None, None) if found is None else (found, neighbours)


def tile_features(
    network: Classifier, data: TrainingData, index: npt.NDArray[np.int64]
) -> torch.Tensor:
    """Return the features (n, F) of the tiles in rows `index`, in single precision on the CPU."""
    network.cpu().eval()
    at_once = best_batch(torch.device("cpu"))
    with torch.inference_mode():
        features = [
            network.embed(tile_tensor(data.tiles, index[start : start + at_once]))
            for start in range(0, len(index), at_once)
        ]
    return torch.cat(features)


def head_logits(network: Classifier, features: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return the logits (n,) of features (n, F)."""
    with torch.inference_mode():
        logits: torch.Tensor = network.head(features)
    return logits.squeeze(1).numpy().astype(np.float64)


def _firing_rates(network: Classifier, data: TrainingData) -> dict[str, float] | None:
    """Return how often the neurons spike on tiles from all over the validation part."""
    rows = data.split.validation
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), RATED_TILES)).astype(np.int64)]
    rates = firing_rates(network, [tile_tensor(data.tiles, some)])
    if not rates:
        return None
    said = ", ".join(f"{layer} {rate:.3f}" for layer, rate in rates.items())
    log.info("neurons that spike at a time step, by layer: %s", said)
    return rates


def _training_tiles(data: TrainingData, model: ModelSettings) -> TrainingTiles:
    split = f"{data.split.name}, training part: {data.split.description}"
    if model.from_imagenet:
        split += f" Started from weights trained on ImageNet ({model.weights})."
    elif model.weights is not None:
        split += " Started from other weights, whose tiles are not listed here."
    return TrainingTiles(
        count=len(data.split.train),
        split=split,
        manifest_sha256="",
        licence=HARVEY_LICENCE,
        non_commercial=False,
    )


def _three(values: torch.Tensor) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values.flatten())
    return red, green, blue


def _versions() -> dict[str, str]:
    found = {"damagenet": __version__}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
