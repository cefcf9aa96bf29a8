"""What an older bundle's card lacks, added from the tiles that it was trained and validated on."""

import shutil
from pathlib import Path

import numpy as np

from damagenet.bundle import Bundle, load_bundle
from damagenet.bundle_writing import write_card
from damagenet.calibration import probabilities
from damagenet.card import Card
from damagenet.confidence import confidence_curve
from damagenet.errors import DataError, OutputError
from damagenet.strangeness import Neighbours, keep_neighbours
from damagenet.training.card import head_logits, measure_strangeness, tile_features
from damagenet.training.data import TrainingData, open_training_data
from data_prep.harvey import HarveyTiles


def complete_bundle(model: str | Path, out: Path, tiles: HarveyTiles) -> Card:
    """Write a bundle again, with the margins of its calibration and its neighbours in it.

    Weights, calibration, threshold and scores stay as they are.

    Args:
        model: A shipped name or a bundle's folder.
        out: Folder of the bundle that is written; the one that is read may be given.
        tiles: The prepared data set that it was trained on.

    Raises:
        BundleError: If the bundle cannot be read.
        DataError: If the bundle's recipe does not lead to the tiles that it was trained on, or it
            was adapted to labels, which are not among these tiles.
        OutputError: If the folder cannot be written.
    """
    bundle = load_bundle(model)
    if bundle.card.event is not None:
        raise DataError(
            f"bundle {bundle.card.name} was adapted to {', '.join(bundle.card.event.scenes)}: "
            "adapt it again instead"
        )
    data = open_training_data(bundle.card.recipe, tiles)
    require_same_tiles(bundle, data)
    card, neighbours = _completed(bundle, data)
    try:
        if out.resolve() != bundle.folder.resolve():
            shutil.copytree(bundle.folder, out)
        card = keep_neighbours(out, card, neighbours)
    except FileExistsError as err:
        raise OutputError(f"{out} is there already: name another folder") from err
    except OSError as err:
        raise OutputError(f"cannot write bundle {out}: {err.strerror}") from err
    write_card(out, card)
    return card


def _completed(bundle: Bundle, data: TrainingData) -> tuple[Card, Neighbours | None]:
    card, network = bundle.card, bundle.network
    labels = data.tiles.labels[data.split.validation].astype(np.int64)
    features = tile_features(network, data, data.split.validation)
    p = probabilities(head_logits(network, features), card.calibration)
    strangeness, neighbours = measure_strangeness(network, data, features)
    prior = {"prior": float(labels.mean())}
    return card.model_copy(
        update={
            "calibration": card.calibration.model_copy(update=prior),
            "confidence": confidence_curve(p, labels, card.threshold),
            "strangeness": strangeness,
        }
    ), neighbours


def require_same_tiles(bundle: Bundle, data: TrainingData) -> None:
    """Refuse tiles that are not those that a bundle's weights have seen.

    Raises:
        DataError: If the recipe leads to others.
    """
    known, found = bundle.training_tiles()["sha256"], data.manifest["sha256"]
    if sorted(known) != sorted(found):
        raise DataError(
            f"the recipe of {bundle.card.name} trains on {len(found)} of these tiles, and not on "
            f"the {len(known)} that its weights have seen: give the data set that it was made with"
        )
