"""The linear probe of a recipe: features of every tile once, then the head by `l2_search`."""

import csv
import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import TypeAdapter

from damagenet.bundle import MANIFEST_COLUMNS
from damagenet.calibration import (
    balanced_threshold,
    fit_calibration,
    probabilities,
    uncertain_band,
)
from damagenet.card import TrainingTiles
from damagenet.confidence import confidence_curve
from damagenet.devices import best_batch, resolve_device
from damagenet.inference import fused
from damagenet.recipe import Recipe
from damagenet.strangeness import Neighbours
from damagenet.training.card import (
    HARVEY_LICENCE,
    CardFacts,
    compared,
    fitted_on,
    make_card,
    strangeness_of,
)
from damagenet.training.data import TrainingData, open_training_data, require_test_apart
from damagenet.training.head_training import Solved
from damagenet.training.l2_search import Chosen, Part, Trial, search_l2
from damagenet.training.logistic import Floats
from damagenet.training.start import start_frozen
from data_prep.datasets import tile_tensor
from data_prep.harvey import HarveyTiles
from models.classifier import Classifier

log = logging.getLogger(__name__)

FEATURES_FILE = "features.npz"
TRIALS_FILE = "l2.csv"


def probe_head(recipe: Recipe, out: Path, tiles: HarveyTiles | None, *, command: str) -> Solved:
    """Search for the head of a recipe whose features stay.

    The calibration and the threshold are fitted on verdicts on validation of the head that saw
    training alone; the head that is kept has seen both.

    Args:
        recipe: Checked; its augmentation is none.
        out: Gets `features.npz`, which a repeated command takes again, and `l2.csv`: one line
            for each strength.
        tiles: The prepared data set; without it the recipe's is opened.
        command: Written into the card.

    Raises:
        DataError: If tiles are missing, or training or validation lacks a class.
        LeakError: If the split leaks, or validation shares ground with the test, and the recipe
            does not allow it.
        BundleError: If the weights to start from cannot be read.
    """
    data = open_training_data(recipe, tiles)
    # The kept head learns from validation too.
    require_test_apart(data, allow_leak=recipe.data.allow_leak)
    log.info("%s", data.split.description)
    network = start_frozen(recipe).eval()
    training, validation = _parts(network, data, out / FEATURES_FILE)
    chosen = search_l2(training, validation, select_on=recipe.training.select_on)
    _write_trials(out / TRIALS_FILE, chosen)
    chosen.refitted.put_into(network.head)
    facts, neighbours = _facts(recipe, data, (training, validation), chosen)
    return Solved(
        network=network,
        card=make_card(recipe, network, facts, command=command),
        learned=_learned(data),
        neighbours=neighbours,
    )


def read_trials(folder: Path) -> tuple[Trial, ...]:
    """Return what a probe wrote of each strength, weakest first."""
    with (folder / TRIALS_FILE).open(encoding="utf-8", newline="") as stream:
        return TypeAdapter(tuple[Trial, ...]).validate_python(tuple(csv.DictReader(stream)))


def _write_trials(path: Path, chosen: Chosen) -> None:
    rows = [asdict(trial) for trial in chosen.trials]
    pd.DataFrame(rows).to_csv(path, index=False)


def _parts(network: Classifier, data: TrainingData, path: Path) -> tuple[Part, Part]:
    """Return the features of training and validation, from the file where they are in it."""
    split, labels = data.split, data.tiles.labels
    features = _kept_features(network, data, path)
    here = len(split.train)
    return (
        Part(features=features[:here], damaged=labels[split.train] == 1),
        Part(features=features[here:], damaged=labels[split.validation] == 1),
    )


def _kept_features(network: Classifier, data: TrainingData, path: Path) -> Floats:
    rows = np.concatenate([data.split.train, data.split.validation])
    key = _key(network, data.tiles.manifest["sha256"].iloc[rows])
    try:
        with np.load(path) as kept:
            if str(kept["key"]) == key:
                log.info("features: those in %s", path)
                return np.asarray(kept["features"], np.float64)
    except (FileNotFoundError, BadZipFile, EOFError, KeyError, ValueError):
        pass  # not there yet, or cut off while it was written
    features = embed_tiles(network, data.tiles, rows)
    np.savez(path, key=key, features=features)
    return features.astype(np.float64)


def _key(network: Classifier, hashes: "pd.Series[str]") -> str:
    digest = hashlib.sha256("".join(hashes).encode())
    for name, value in network.features.state_dict().items():
        digest.update(name.encode() + value.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def embed_tiles(
    network: Classifier, tiles: HarveyTiles, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the features of tiles, float32 (N, F), on a GPU where there is one."""
    device = resolve_device("auto")
    # As it is asked later: the same folded layers, the same layout in memory.
    network = fused(network).to(device)
    at_once = best_batch(device)
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), at_once):
            batch = tile_tensor(tiles, rows[start : start + at_once]).to(device)
            found.append(network.embed(batch).float().cpu().numpy())
    return np.concatenate(found)


def _facts(
    recipe: Recipe, data: TrainingData, parts: tuple[Part, Part], chosen: Chosen
) -> tuple[CardFacts, Neighbours | None]:
    training, validation = parts
    labels = validation.damaged.astype(np.int64)
    logits = chosen.judged.logits(validation.features)
    said = f"{fitted_on(data)}, judged by a head that had seen the training part alone"
    calibration = fit_calibration(logits, labels, fitted_on=said)
    calibration = calibration.model_copy(update={"prior": float(labels.mean())})
    p = probabilities(logits, calibration)
    threshold = balanced_threshold(p, labels)
    learned, held_out = (torch.from_numpy(part.features).float() for part in parts)
    strangeness, neighbours = strangeness_of(learned[compared(len(learned))], data, held_out)
    facts = CardFacts(
        calibration=calibration,
        threshold=threshold,
        uncertain_band=uncertain_band(p, labels, threshold),
        class_prior=float(training.joined(validation).damaged.mean()),
        confidence=confidence_curve(p, labels, threshold),
        strangeness=strangeness,
        tiles=_seen(recipe, data, chosen),
    )
    return facts, neighbours


def _seen(recipe: Recipe, data: TrainingData, chosen: Chosen) -> TrainingTiles:
    count = len(data.split.train) + len(data.split.validation)
    solved = "" if chosen.converged else ", at which the solver did not converge"
    return TrainingTiles(
        count=count,
        split=(
            f"{data.split.name}, training and validation part: {data.split.description} Features "
            f"of {recipe.model.weights} weights, as they were. L2 {chosen.l2:.4g}{solved}, chosen "
            "on validation."
        ),
        manifest_sha256="",
        licence=HARVEY_LICENCE,
        non_commercial=False,
    )


def _learned(data: TrainingData) -> pd.DataFrame:
    rows = np.concatenate([data.split.train, data.split.validation])
    return data.tiles.manifest.iloc[rows][MANIFEST_COLUMNS].reset_index(drop=True)
