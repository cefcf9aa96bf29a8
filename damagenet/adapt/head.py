"""The head alone: logistic regression on features, pulled towards the head it had before."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from damagenet.adapt.blocks import apart, fold_of
from damagenet.adapt.labelled import Labelled
from damagenet.adapt.views import SYMMETRIES, relit, turned
from damagenet.training.logistic import Floats, Scale, fit_logistic
from models.classifier import Classifier

PULLS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Strengths of the pull towards the head before, the strongest first."""
LEAST_DEVIATION = 0.05
"""Of the median over the features."""
FOLDS = 4
AT_ONCE = 16

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What a network makes of all chips.

    Attributes:
        views: Under the eight symmetries and in other light each time, float32 (8, M, F).
        plain: Of the chips as they are, float32 (M, F).
    """

    views: torch.Tensor
    plain: torch.Tensor


def features_of(network: Classifier, labelled: Labelled, *, seed: int) -> Features:
    """Return the features of all chips, once for every symmetry.

    Args:
        network: In evaluation mode, on the CPU.
        labelled: The buildings.
        seed: Seed of the light.
    """
    images = [torch.from_numpy(image) for image in labelled.images]
    rng = np.random.default_rng(seed)
    views = []
    for symmetry in range(SYMMETRIES):
        lit = relit(images, rng)
        views.append(_features(network, [turned(image, symmetry) for image in lit]))
    return Features(views=torch.stack(views), plain=_features(network, images))


def fit_head(
    features: torch.Tensor, damaged: Bools, weights: Floats, start: nn.Linear, pull: float
) -> nn.Linear:
    """Return the head with the least class-balanced loss and distance from the one before.

    The distance is measured in deviations of the features, so that `pull` means the same for every
    network.

    Args:
        features: float32 (V, M, F).
        damaged: Truth of each chip (M,).
        weights: What each chip counts (M,); they add up to one half in each class.
        start: The head before.
        pull: Strength of the pull; the bias is free.
    """
    flat = features.reshape(-1, features.shape[-1]).double()
    mean, deviation = flat.mean(dim=0), flat.std(dim=0)
    # A feature that hardly moves on these places may move on others, and must not weigh more.
    deviation = deviation.clamp(min=max(1e-6, LEAST_DEVIATION * float(deviation.median())))
    views = features.shape[0]
    found = fit_logistic(
        flat.numpy(),
        np.tile(damaged, views),
        np.tile(weights, views) / views,
        Scale(mean=mean.numpy(), deviation=deviation.numpy()),
        pull=pull,
        towards=start.weight.detach().mean(dim=0).double().numpy(),
    )
    head = nn.Linear(flat.shape[1], 1)
    found.put_into(head)
    return head


def best_pull(
    features: Features, labelled: Labelled, block: Rows, pairs: Rows, start: nn.Linear
) -> float:
    """Return the pull with the least balanced loss on blocks that were not fitted.

    Args:
        features: Of the labelled chips.
        labelled: The buildings, N of them.
        block: Their spatial blocks (N,).
        pairs: From `damagenet.adapt.blocks.overlapping`.
        start: The head before.
    """
    fold, everything = fold_of(block, labelled.damaged, FOLDS), np.arange(len(labelled))
    losses = np.zeros(len(PULLS))
    for number in range(FOLDS):
        test = everything[fold == number]
        train = apart(everything[fold != number], test, pairs)
        if len(np.unique(labelled.damaged[train])) < 2:
            continue
        chips = np.isin(labelled.owner, train)
        seen = labelled.only(train)
        tested = np.isin(labelled.owner, test)
        truth = labelled.damaged[labelled.owner]
        weights = balanced_weights(labelled.damaged, labelled.owner)[tested]
        for place, pull in enumerate(PULLS):
            owner, damaged = seen.owner, seen.damaged
            head = fit_head(
                features.views[:, chips],
                damaged[owner],
                balanced_weights(damaged, owner),
                start,
                pull,
            )
            with torch.inference_mode():
                logits = head(features.plain[tested])[:, 0].double()
            wrong = F.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(truth[tested].astype(np.float64)), reduction="none"
            )
            losses[place] += float((wrong * torch.from_numpy(weights)).sum())
    return PULLS[int(losses.argmin())]


def balanced_weights(damaged: Bools, owner: Rows) -> Floats:
    """Return what each chip counts (M,): buildings alike, and each class one half.

    Args:
        damaged: Truth of each building (N,), of both classes.
        owner: Which building each chip shows (M,).
    """
    chips = np.bincount(owner, minlength=len(damaged))
    classes = np.array([(~damaged).sum(), damaged.sum()])
    shares: Floats = 0.5 / classes[damaged[owner].astype(int)] / chips[owner]
    return shares


def _features(network: Classifier, images: list[torch.Tensor]) -> torch.Tensor:
    found = []
    with torch.inference_mode():
        for start in range(0, len(images[0]), AT_ONCE):
            batch = [network.normalise(image[start : start + AT_ONCE]) for image in images]
            found.append(network.features(torch.cat(batch, dim=1)))
    # Out of inference mode, so that they may take part in a fit.
    return torch.cat(found).clone()
