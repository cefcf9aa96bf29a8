"""How strange a scene looks to an adapted network: beside the base's tiles and the event's own."""

import logging

import torch

from damagenet.adapt.fitting import AT_ONCE, Fit
from damagenet.adapt.labelled import Labelled
from damagenet.bundle import Bundle
from damagenet.card import Strangeness
from damagenet.errors import DataError, LeakError
from damagenet.strangeness import Neighbours
from damagenet.training.card import measure_strangeness, tile_features
from damagenet.training.complete import require_same_tiles
from damagenet.training.data import open_training_data
from data_prep.harvey import HarveyTiles
from models.classifier import Classifier

logger = logging.getLogger(__name__)

Measured = tuple[Strangeness, Neighbours] | tuple[None, None]


def adapted_strangeness(
    base: Bundle, fit: Fit, fitted: Labelled, tiles: HarveyTiles | None
) -> Measured:
    """Return what is usual for an adapted network, and the chips to compare others with.

    Ground of the event that it learned from is not strange to it, so that these chips join the
    base's tiles. What is usual stays as held-out ground of the base shows it: the labels of one
    event are too few blocks to say. Where the head alone learned, features are those of the base;
    where stages did, they are measured anew.

    Args:
        base: What was adapted.
        fit: The adapted network.
        fitted: The labels that it learned from.
        tiles: Prepared tiles of the base's training; None where there are none.

    Returns:
        None twice where the base has no such measure, or its tiles are not at hand.
    """
    usual, neighbours = base.card.strangeness, base.neighbours
    if fit.learned == "stages":
        usual, neighbours = _measured_anew(base, fit.network, tiles)
    if usual is None or neighbours is None:
        return None, None
    update = {"measured_on": f"{usual.measured_on}, before the event's chips joined"}
    joined = neighbours.joined(_chip_features(fit.network, fitted))
    return usual.model_copy(update=update), joined


def _measured_anew(base: Bundle, network: Classifier, tiles: HarveyTiles | None) -> Measured:
    if tiles is None:
        logger.info("how strange scenes look is not measured: the base's tiles are not at hand")
        return None, None
    try:
        data = open_training_data(base.card.recipe, tiles)
        require_same_tiles(base, data)
    except (DataError, LeakError) as err:
        logger.warning("how strange scenes look is not measured: %s", err)
        return None, None
    return measure_strangeness(network, data, tile_features(network, data, data.split.validation))


def _chip_features(network: Classifier, labelled: Labelled) -> torch.Tensor:
    """Return the features (M, F) of all chips."""
    images = [torch.from_numpy(image) for image in labelled.images]
    with torch.inference_mode():
        return torch.cat(
            [
                network.embed(*(image[start : start + AT_ONCE] for image in images))
                for start in range(0, len(labelled.owner), AT_ONCE)
            ]
        )
