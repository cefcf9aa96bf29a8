"""From a recipe whose head is solved for to its network and card."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from lightning import seed_everything

from damagenet.bundle import MANIFEST_COLUMNS
from damagenet.calibration import (
    balanced_threshold,
    fit_calibration,
    probabilities,
    uncertain_band,
)
from damagenet.card import Calibration, Card, Strangeness, TrainingTiles
from damagenet.confidence import confidence_curve
from damagenet.confidence import logits as logit
from damagenet.recipe import GradedSettings, Recipe
from damagenet.rules import moved, reweighted
from damagenet.strangeness import Neighbours, held_out_strangeness
from damagenet.training.card import HARVEY_LICENCE, CardFacts, make_card
from damagenet.training.head import Features, extract, left_out_logits, solve, strength
from damagenet.training.labelled_chips import LabelledChips, open_labelled_chips
from damagenet.training.start import start_frozen
from data_prep.augmentation import build_augmentation
from data_prep.graded import LICENCE as GRADED_LICENCE
from data_prep.harvey import HarveyTiles
from data_prep.tile_ground import spatial_blocks
from models.classifier import Classifier

GRADED_WEIGHTS_LICENCE = (
    "CC BY-NC-SA 4.0, as the weights learned from xBD's buildings: no commercial use, and what is "
    "made from them carries the same licence"
)

HELD_FOLD = 0
"""The part whose distance to the others says what is usual."""
MAX_ERROR = 0.05
"""Share of wrong verdicts that is accepted outside the band of doubt."""
SHARES_OF_ERROR = (0.5, 0.6, 0.7, 0.8)
"""What is accepted else, in shares of the errors without a band."""
MOST_IN_DOUBT = 0.5
"""A band that holds more of the verdicts says nothing about any of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """A network whose head was solved for, as its bundle holds it.

    Attributes:
        network: In evaluation mode.
        card: All but its hashes and scores.
        learned: lon, lat, label and sha256 of what it learned from.
        neighbours: Chips to compare others with; None where too little ground is held out.
    """

    network: Classifier
    card: Card
    learned: pd.DataFrame
    neighbours: Neighbours | None


def train_head(recipe: Recipe, tiles: HarveyTiles | None, *, command: str) -> Solved:
    """Solve for the head of a recipe.

    Probabilities, threshold and band of doubt are fitted on verdicts of heads that had not seen
    the scene, or the block of tiles, in question. Damaged tiles are far more than graded damaged
    buildings: as many of them as there are of those calibrate, drawn at random; all of them count
    for the threshold.

    Raises:
        DataError: If tiles or scenes are missing, or leave a class empty.
        LeakError: If the split leaks and the recipe does not allow it.
        BundleError: If the weights to start from cannot be read.
    """
    l2 = strength(recipe.training.optimizer)
    augmentation = build_augmentation(recipe.data.augmentation, recipe.training.seed)
    sources = open_labelled_chips(recipe, tiles)
    seed_everything(recipe.training.seed, verbose=False)
    network = start_frozen(recipe)
    features = extract(network, sources, augmentation)
    solve(features, l2).put_into(network.head)
    strangeness, neighbours = _strangeness(sources, features)
    facts = _facts(recipe, sources, features, l2, strangeness)
    if recipe.data.graded is not None and recipe.data.graded.prior is not None:
        facts = _at_prior(facts, recipe.data.graded.prior)
    table = pd.concat([source.table for source in sources])[MANIFEST_COLUMNS]
    return Solved(
        network=network.eval(),
        card=make_card(recipe, network, facts, command=command),
        learned=table.drop_duplicates().reset_index(drop=True),
        neighbours=neighbours,
    )


def _strangeness(
    sources: Sequence[LabelledChips], features: Features
) -> tuple[Strangeness, Neighbours] | tuple[None, None]:
    """Return how far the chips of one fold lie from those of the others, and these others."""
    # A picture beside itself is no chip that anybody will ask about.
    real = np.array([source.compares for source in sources])[features.source]
    held = real & (features.fold == HELD_FOLD)
    kept = torch.from_numpy(features.plain[real & ~held])
    places = pd.concat([source.table.iloc[: len(source.damaged)] for source in sources])[held]
    neighbours = Neighbours.of(kept)
    found = held_out_strangeness(
        neighbours.distances(torch.from_numpy(features.plain[held])).numpy().astype(np.float64),
        spatial_blocks(places["lon"].to_numpy(), places["lat"].to_numpy()),
        measured_on=f"one part of what it learned from, {int(held.sum())} chips",
    )
    return (None, None) if found is None else (found, neighbours)


def _facts(
    recipe: Recipe,
    sources: Sequence[LabelledChips],
    features: Features,
    l2: float,
    strangeness: Strangeness | None,
) -> CardFacts:
    """Calibrate on verdicts from outside the fit, a unit with several chips by its largest."""
    units = _units(sources, features, left_out_logits(features, l2, features.fold))
    sample = _sample(units, recipe.training.seed)
    labels = sample["damaged"].to_numpy(np.int64)
    logits = sample["logit"].to_numpy(np.float64, copy=True)
    calibration = _calibration(recipe.data.graded, sources, features, l2, sample)
    every = probabilities(units["logit"].to_numpy(np.float64), calibration)
    threshold = balanced_threshold(every, units["damaged"].to_numpy(np.int64))
    p = probabilities(logits, calibration)
    return CardFacts(
        calibration=calibration,
        threshold=threshold,
        uncertain_band=_band_of_doubt(p, labels, threshold),
        class_prior=float(labels.mean()),
        confidence=confidence_curve(p, labels, threshold),
        strangeness=strangeness,
        tiles=_seen(recipe, sources),
        licence=GRADED_WEIGHTS_LICENCE if recipe.data.graded else None,
    )


def _calibration(
    graded: GradedSettings | None,
    sources: Sequence[LabelledChips],
    features: Features,
    l2: float,
    sample: pd.DataFrame,
) -> Calibration:
    """Fit to a sample of units, each judged without its scene or quarter.

    Heads that leave out a whole scene differ so much in what a logit means that all of theirs
    together make hardly a probability; of four heads that leave out a quarter of each they do.
    """
    labels, part = sample["damaged"].to_numpy(np.int64), "scene"
    if graded is not None and graded.calibrate_on == "quarters":
        part = "quarter of the scene"
        quarters = _units(sources, features, left_out_logits(features, l2, features.quarter))
        sample = quarters.loc[sample.index]
    found = fit_calibration(
        sample["logit"].to_numpy(np.float64, copy=True),
        labels,
        fitted_on=f"{len(sample)} houses out of {_in_words(sources)}, each judged by a head that "
        f"had not seen its {part} or block of ground",
    )
    return found.model_copy(update={"prior": float(labels.mean())})


def _at_prior(facts: CardFacts, prior: float) -> CardFacts:
    """Return the same for another share of damaged: as `assess --prior`, it turns no verdict.

    The margins stay, as they are differences of log odds.
    """
    own = facts.calibration.prior
    assert own is not None
    shift = float(logit(prior) - logit(own))
    low, high = facts.uncertain_band
    return replace(
        facts,
        calibration=reweighted(facts.calibration, shift, prior),
        threshold=moved(facts.threshold, shift),
        uncertain_band=(moved(low, shift), moved(high, shift)),
    )


def _band_of_doubt(
    p: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], threshold: float
) -> tuple[float, float]:
    """Return the band outside which few verdicts are wrong, and at least half of them stand.

    A weak model that is as often wrong far from its threshold as near it has no such band: then
    none is given, and the measured errors on the card are all there is to say.
    """
    overall = float(np.mean((p >= threshold) != (labels == 1)))
    for error in (MAX_ERROR, *(share * overall for share in SHARES_OF_ERROR)):
        low, high = uncertain_band(p, labels, threshold, error=error)
        if np.mean((p > low) & (p < high)) <= MOST_IN_DOUBT:
            return low, high
    return threshold, threshold


def _units(
    sources: Sequence[LabelledChips], features: Features, logits: npt.NDArray[np.float64]
) -> pd.DataFrame:
    """Return one row per house or building that calibrates: logit, damaged, graded."""
    chips = pd.DataFrame(
        {
            "source": features.source,
            "unit": np.concatenate([source.unit for source in sources]),
            "logit": logits,
            "damaged": features.damaged,
        }
    )
    units = chips.groupby(["source", "unit"], as_index=False).max()
    calibrates = np.array([source.calibrates for source in sources])[units["source"]]
    graded = np.array([source.graded for source in sources])[units["source"]]
    return units.assign(graded=graded)[calibrates]


def _sample(units: pd.DataFrame, seed: int) -> pd.DataFrame:
    graded, others = units[units["graded"]], units[~units["graded"]]
    damaged = int(graded["damaged"].sum())
    if graded.empty:
        return units
    drawn = others.sample(min(len(others), max(damaged, 1)), random_state=seed)
    return pd.concat([graded, drawn])


def _seen(recipe: Recipe, sources: Sequence[LabelledChips]) -> TrainingTiles:
    graded = recipe.data.graded is not None
    return TrainingTiles(
        count=sum(len(source.damaged) for source in sources),
        split=f"{_in_words(sources)}. Features of {recipe.model.weights} weights, as they were.",
        manifest_sha256="",
        licence=HARVEY_LICENCE + (f"; {GRADED_LICENCE}" if graded else ""),
        non_commercial=graded,
    )


def _in_words(sources: Sequence[LabelledChips]) -> str:
    """Return what was learned from, as in `5 damaged and 4 undamaged tiles; ...`."""
    told = []
    for graded, what in ((False, "tiles"), (True, "buildings")):
        some = [source for source in sources if source.graded == graded]
        counts = [
            f"{sum(source.units for source in some if source.damaged[0] == damaged):,} {word}"
            for damaged, word in ((True, "damaged"), (False, "undamaged"))
        ]
        origins = list(dict.fromkeys(source.origin for source in some))
        if some:
            told.append(f"{' and '.join(counts)} {what} of {', '.join(origins)}")
    return "; ".join(told)
