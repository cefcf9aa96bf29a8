"""From a recipe whose head is solved for to its network and card."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from lightning import seed_everything

from damagenet.bundle import MANIFEST_COLUMNS
from damagenet.calibration import (
    balanced_threshold,
    fit_calibration,
    probabilities,
    uncertain_band,
)
from damagenet.card import Card, TrainingTiles
from damagenet.recipe import Recipe
from damagenet.training.card import HARVEY_LICENCE, CardFacts, describe
from damagenet.training.head import Features, extract, left_out_logits, solve, strength
from damagenet.training.labelled_chips import LabelledChips, open_labelled_chips
from damagenet.training.start import start_frozen
from data_prep.augmentation import build_augmentation
from data_prep.graded import LICENCE as GRADED_LICENCE
from data_prep.harvey import HarveyTiles
from models.classifier import Classifier

GRADED_WEIGHTS_LICENCE = (
    "CC BY-NC-SA 4.0, as the weights learned from xBD's buildings: no commercial use, and what is "
    "made from them carries the same licence"
)

MAX_ERROR = 0.05
"""Share of wrong verdicts that is accepted outside the band of doubt."""


def train_head(
    recipe: Recipe, tiles: HarveyTiles | None, *, command: str
) -> tuple[Classifier, Card, pd.DataFrame]:
    """Solve for the head of a recipe; return the network, its card and what it learned from.

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
    facts = _facts(recipe, sources, features, l2)
    table = pd.concat([source.table for source in sources])[MANIFEST_COLUMNS]
    table = table.drop_duplicates().reset_index(drop=True)
    return network.eval(), describe(recipe, network, facts, command=command), table


def _facts(
    recipe: Recipe, sources: Sequence[LabelledChips], features: Features, l2: float
) -> CardFacts:
    """Calibrate on verdicts from outside the fit, a unit with several chips by its largest."""
    units = _units(sources, features, left_out_logits(features, l2))
    sample = _sample(units, recipe.training.seed)
    labels = sample["damaged"].to_numpy(np.int64)
    logits = sample["logit"].to_numpy(np.float64, copy=True)
    fitted_on = (
        f"{len(sample)} chips, {int(labels.sum())} of them damaged, by heads that had not seen "
        f"their scene or block: {_in_words(sources)}"
    )
    calibration = fit_calibration(logits, labels, fitted_on=fitted_on)
    every = probabilities(units["logit"].to_numpy(np.float64), calibration)
    threshold = balanced_threshold(every, units["damaged"].to_numpy(np.int64))
    p = probabilities(logits, calibration)
    return CardFacts(
        calibration=calibration,
        threshold=threshold,
        uncertain_band=uncertain_band(p, labels, threshold, error=MAX_ERROR),
        class_prior=float(labels.mean()),
        tiles=_seen(recipe, sources),
        licence=GRADED_WEIGHTS_LICENCE if recipe.data.graded else None,
    )


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
    return ", ".join(source.words for source in sources)
