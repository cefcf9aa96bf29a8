"""A head fitted on features that stay: logistic regression, solved instead of stepped towards.

Every chip goes through the network once per rendering; what follows is a convex problem of a few
hundred numbers, so that it can be solved once per part of a cross-validation as well. Verdicts
of parts that were left out calibrate the whole.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from damagenet.config import setting
from damagenet.devices import best_batch, resolve_device
from damagenet.errors import ConfigError, EvaluationError
from damagenet.inference import fused
from damagenet.recipe import Choice
from damagenet.training.labelled_chips import LabelledChips
from damagenet.training.logistic import Floats, Head, Scale, fit_logistic
from data_prep.augmentation import Augmentation
from models.classifier import Classifier

log = logging.getLogger(__name__)

SOLVER = "lbfgs"
SEARCHER = "lbfgs_grid"
"""Solves at every L2 strength of a grid and chooses on validation (`l2_search`)."""
DEFAULT_L2 = 0.04
SMALLEST_DEVIATION = 1e-6

Bools = npt.NDArray[np.bool_]


def is_solver(optimizer: Choice) -> bool:
    """Whether a recipe's head is solved for instead of trained step by step."""
    return optimizer.name in (SOLVER, SEARCHER)


def strength(optimizer: Choice) -> float:
    """Return `l2`, what half the sum of squared weights of standardised features costs.

    Raises:
        ConfigError: If a parameter is unknown or out of range.
    """
    with setting("training.optimizer"):
        for name, value in optimizer.parameters.items():
            if name != "l2":
                raise ConfigError(f"optimizer {SOLVER!r} has no parameter {name!r}; it takes: l2")
            if isinstance(value, str | bool) or value <= 0:
                raise ConfigError(f"optimizer {SOLVER!r}: l2 must be above 0, got {value!r}")
        return float(optimizer.parameters.get("l2", DEFAULT_L2))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """The features of labelled chips: as they are, and of their augmented views.

    Attributes:
        plain: float64 (N, F), chip by chip over all sources.
        views: float64 (V, F); `of` names the chip of each view, int64 (V,).
        damaged, fold, quarter, source: Of each chip (N,).
        weight: Of each view (V,); together 2, one for each class where both are full.
    """

    plain: Floats
    views: Floats
    of: npt.NDArray[np.int64]
    damaged: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]
    quarter: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    weight: Floats


def extract(
    network: Classifier, sources: Sequence[LabelledChips], augmentation: Augmentation
) -> Features:
    """Return the features of all chips, on a GPU where there is one; the network stays."""
    # As it is asked later: the same folded layers, the same layout in memory.
    network = fused(network).to(resolve_device("auto"))
    plain, views, of, weight = [], [], [], []
    first = 0
    for source in sources:
        chips = range(len(source.damaged))
        plain.append(_features(network, source.pictures, chips, None))
        for rendering in range(source.renderings):
            log.info("features of %s, rendering %d", source.words, rendering + 1)
            views.append(_features(network, source.pictures, chips, augmentation))
            of.append(first + np.arange(len(chips)))
            each = source.weight / (len(chips) * source.renderings)
            weight.append(np.full(len(chips), each))
        first += len(chips)
    return Features(
        plain=np.concatenate(plain),
        views=np.concatenate(views),
        of=np.concatenate(of),
        damaged=np.concatenate([source.damaged for source in sources]),
        fold=np.concatenate([source.fold for source in sources]),
        quarter=np.concatenate([source.quarter for source in sources]),
        source=np.repeat(np.arange(len(sources)), [len(source.damaged) for source in sources]),
        weight=np.concatenate(weight),
    )


def _features(
    network: Classifier,
    pictures: Sequence[npt.NDArray[np.uint8]],
    chips: Sequence[int],
    augmentation: Augmentation | None,
) -> Floats:
    device = next(network.parameters()).device
    at_once = best_batch(device) // len(pictures)
    found = []
    for start in range(0, len(chips), at_once):
        batch = [
            tuple(picture[chip] for picture in pictures) for chip in chips[start : start + at_once]
        ]
        if augmentation is not None:
            batch = [augmentation.pictures(chip) for chip in batch]
        images = [
            torch.from_numpy(np.stack(each).transpose(0, 3, 1, 2)).to(device)
            for each in zip(*batch, strict=True)
        ]
        with torch.inference_mode():
            found.append(network.embed(*images).double().cpu().numpy())
    return np.concatenate(found)


def solve(features: Features, l2: float, *, without: Bools | None = None) -> Head:
    """Solve for the head on all views but those of some chips.

    Minimises the weighted mean cross-entropy plus `l2 / 2` times the squared weights of the
    standardised features; the bias is free.

    Args:
        features: Of all chips.
        l2: What half the sum of squared weights costs.
        without: Where the chips are that nothing is learned from (N,).

    Raises:
        EvaluationError: If what is left lacks a class.
    """
    kept = np.ones(len(features.of), bool)
    if without is not None:
        kept = ~without[features.of]
    labels = features.damaged[features.of[kept]]
    if len(np.unique(labels)) < 2:
        raise EvaluationError("a head needs chips of both classes to be fitted on")
    weight = features.weight[kept] / features.weight[kept].sum()
    views = features.views[kept]
    mean = weight @ views
    deviation = np.sqrt(weight @ (views - mean) ** 2) + SMALLEST_DEVIATION
    return fit_logistic(views, labels, weight, Scale(mean=mean, deviation=deviation), pull=l2)


def left_out_logits(features: Features, l2: float, parts: npt.NDArray[np.int64]) -> Floats:
    """Return the logit (N,) of every chip by a head that saw nothing of its part.

    Args:
        features: Of all chips.
        l2: As in `solve`.
        parts: The part that each chip belongs to (N,): its fold, or its quarter.
    """
    logits = np.empty(len(features.damaged))
    for part in np.unique(parts):
        here = parts == part
        logits[here] = solve(features, l2, without=here).logits(features.plain[here])
    return logits
