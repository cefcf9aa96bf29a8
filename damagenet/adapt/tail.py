"""The stages behind the trunk: a few hundred chips seen in a hundred steps."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from damagenet.adapt.labelled import Labelled
from damagenet.adapt.progress import Tell, no_one
from damagenet.adapt.views import SYMMETRIES, relit, turned
from models.classifier import Classifier
from models.stages import freeze, stages

BATCH = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
SMALL_PARAMETERS = 1_000_000
"""Networks up to this size learn in all stages but the first; of others a third of the stages."""


def learning_stages(network: Classifier, asked: int | None) -> int:
    """Return how many of the last stages learn.

    Args:
        network: What is adapted.
        asked: By the caller; more than there are means all.
    """
    found = len(stages(network))
    if asked is not None:
        return min(asked, found)
    size = sum(parameter.numel() for parameter in network.parameters())
    return max(1, found - 1 if size <= SMALL_PARAMETERS else round(found / 3))


def train_tail(
    network: Classifier,
    labelled: Labelled,
    head: nn.Linear,
    *,
    learning: int,
    steps: int,
    seed: int,
    bfloat16: bool,
    progress: Tell = no_one,
) -> Classifier:
    """Return a copy of the network with another head, whose last stages have learned the labels.

    Every step sees as many damaged as undamaged buildings, turned and in other light. Batch norms
    keep the statistics they have, as a few places are no sample of the ground. What the fixed
    stages make of a chip is not kept between steps: in other light it is another each time.

    Args:
        network: Stays as it is.
        labelled: Buildings of both classes.
        head: The head to start with.
        learning: How many of the last stages learn.
        steps: Number of steps.
        seed: Seed of the draws.
        bfloat16: Compute so, as the base was trained: twice as fast where the processor knows it.
        progress: Called after every step.
    """
    network = copy.deepcopy(network).eval()
    network.head = copy.deepcopy(head)
    freeze(network, len(stages(network)) - learning)
    parameters = [one for one in network.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        images, truth = _batch(labelled, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = network(*images)[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        schedule.step()
        progress((step + 1) / steps)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network


def _batch(labelled: Labelled, rng: np.random.Generator) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Draw buildings, half of each class, and one chip of each."""
    drawn = [
        rng.choice(np.flatnonzero(labelled.damaged == damaged), BATCH // 2)
        for damaged in (True, False)
    ]
    units = np.concatenate(drawn)
    first = np.searchsorted(labelled.owner, units)
    chips = np.bincount(labelled.owner, minlength=len(labelled))[units]
    rows = first + np.floor(rng.random(BATCH) * chips).astype(np.intp)
    symmetry = int(rng.integers(SYMMETRIES))
    lit = relit([torch.from_numpy(image[rows]) for image in labelled.images], rng)
    truth = torch.from_numpy(labelled.damaged[units].astype(np.float32))
    return [turned(image, symmetry) for image in lit], truth
