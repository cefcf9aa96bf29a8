"""From labels to weights: the head first, then the stages before it where that is better."""

import copy
import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from damagenet.adapt.blocks import Rows, set_aside
from damagenet.adapt.dividing import Divided, among
from damagenet.adapt.head import balanced_weights, best_pull, features_of, fit_head
from damagenet.adapt.labelled import Labelled
from damagenet.adapt.options import AdaptOptions
from damagenet.adapt.progress import Tell, between, no_one
from damagenet.adapt.tail import learning_stages, train_tail
from damagenet.bundle import Bundle
from damagenet.calibration import fit_calibration, probabilities
from damagenet.errors import DataError
from models.classifier import Classifier

logger = logging.getLogger(__name__)

INNER_SHARE = 0.3
SLACK = 1.1
"""The stages are kept while their inner loss is below this many times the head's: an inner part
has few damaged labels, and on scenes held out the stages were better with 20 to 400 labels."""
AT_ONCE = 16
HEAD, INNER = 0.1, 0.5
"""Share of the time that is over when the head is fitted, and when an inner part has told what is
better."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """An adapted network, and how it came to be.

    Attributes:
        network: In evaluation mode.
        learned: What changed: the head, or stages too.
        stages: How many of the last stages learned; 0 for the head alone.
        pull: Strength of the pull of the head towards the one before.
        why: Why this and not the other, in words.
    """

    network: Classifier
    learned: Literal["head", "stages"]
    stages: int
    pull: float
    why: str


def fit(base: Bundle, divided: Divided, options: AdaptOptions, *, progress: Tell = no_one) -> Fit:
    """Fit a network to the fitted part of labels.

    Args:
        base: Its network stays as it is.
        divided: The labels.
        options: What may change, for how long, and the seed.
        progress: Called now and then.
    """
    network, labelled = base.network, divided.fitted
    head, pull = _head(network, labelled, divided.fitted_block, divided.pairs, options.seed)
    progress(1.0 if options.learn == "head" else HEAD)
    learn, why = options.learn, f"--learn {options.learn}"
    if learn == "best":
        learn, why = _better(base, divided, options, between(progress, HEAD, INNER))
    logger.info("what learns: %s (%s)", learn, why)
    if learn == "head":
        adapted, learning = _with_head(network, head), 0
    else:
        adapted, learning = _deep(base, labelled, head, options, between(progress, INNER, 1.0))
    return Fit(network=adapted, learned=learn, stages=learning, pull=pull, why=why)


def unit_logits(network: Classifier, labelled: Labelled) -> Floats:
    """Return the largest logit over the chips of each building, as `assess` takes it (N,)."""
    images = [torch.from_numpy(image) for image in labelled.images]
    with torch.inference_mode():
        found = [
            network(*(image[start : start + AT_ONCE] for image in images))[:, 0]
            for start in range(0, len(labelled.owner), AT_ONCE)
        ]
    logits = np.full(len(labelled), -np.inf)
    np.maximum.at(logits, labelled.owner, torch.cat(found).numpy().astype(np.float64))
    return logits


def _head(
    network: Classifier, labelled: Labelled, block: Rows, pairs: Rows, seed: int
) -> tuple[nn.Linear, float]:
    features = features_of(network, labelled, seed=seed)
    pull = best_pull(features, labelled, block, pairs, network.head)
    owner, damaged = labelled.owner, labelled.damaged
    weights = balanced_weights(damaged, owner)
    return fit_head(features.views, damaged[owner], weights, network.head, pull), pull


def _with_head(network: Classifier, head: nn.Linear) -> Classifier:
    adapted = copy.deepcopy(network)
    adapted.head = head
    return adapted


def _deep(
    base: Bundle, labelled: Labelled, head: nn.Linear, options: AdaptOptions, tell: Tell
) -> tuple[Classifier, int]:
    """Return the network with its last stages trained, and how many those are."""
    learning = learning_stages(base.network, options.stages)
    network = train_tail(
        base.network,
        labelled,
        head,
        learning=learning,
        steps=options.steps,
        seed=options.seed,
        bfloat16=base.card.recipe.training.precision == "bf16-mixed",
        progress=tell,
    )
    return network, learning


def _better(
    base: Bundle, divided: Divided, options: AdaptOptions, tell: Tell
) -> tuple[Literal["head", "stages"], str]:
    """Say what is better on an inner part, in blocks of its own."""
    labelled, seed = divided.fitted, options.seed
    try:
        inner = set_aside(
            labelled.centres, labelled.damaged, divided.pairs, share=INNER_SHARE, seed=seed + 1
        )
    except DataError:
        return "head", "the labels are too few or too close together to tell what is better"
    fitted, held = labelled.only(inner.fitted), labelled.only(inner.aside)
    block, pairs = inner.block[inner.fitted], among(divided.pairs, inner.fitted)
    head, _ = _head(base.network, fitted, block, pairs, seed)
    deep, learning = _deep(base, fitted, head, options, tell)
    shallow = _with_head(base.network, head)
    losses = [calibrated_loss(unit_logits(one, held), held.damaged) for one in (shallow, deep)]
    told = (
        f"on {len(held)} inner labels the balanced loss is {losses[0]:.3f} with the head alone "
        f"and {losses[1]:.3f} with the last {learning} stages"
    )
    return ("stages" if losses[1] < SLACK * losses[0] else "head"), told


def calibrated_loss(logits: Floats, damaged: npt.NDArray[np.bool_]) -> float:
    """Return the class-balanced log loss after a calibration of its own.

    Calibration comes later, so that only what it cannot mend may count here.
    """
    labels = damaged.astype(np.int64)
    p = probabilities(logits, fit_calibration(logits, labels, shrink=True, balanced=True))
    right = np.clip(np.where(damaged, p, 1 - p), 1e-12, 1)
    return float(np.mean([-np.log(right[damaged == one]).mean() for one in (True, False)]))
