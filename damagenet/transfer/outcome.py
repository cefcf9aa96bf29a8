"""What a network came to by one protocol: the point that validation chose, scored on the test."""

import math

import numpy as np
import numpy.typing as npt
import torch

from damagenet.bundle import Bundle
from damagenet.config import Settings
from damagenet.training.card import head_logits
from damagenet.training.probe import embed_tiles
from data_prep.harvey import HarveyTiles


class Outcome(Settings):
    """One line of the report."""

    comparison: str
    """Hash over tiles and training without the network, 12 digits: what may be compared."""
    protocol: str
    split: str
    tiles: int
    """Training tiles."""
    network: str
    weights: str | None
    lr: float | None = None
    decay: float | None = None
    l2: float | None = None
    points: int
    """Points of the grid that it is the best of."""
    of_points: int
    """Points that the grid has."""
    not_converged: int = 0
    steps: int | None = None
    batch_size: int | None = None
    select_on: str
    validation: float
    n: int
    """Test tiles."""
    correct: int
    """Those with the right verdict at logit 0."""
    balanced_accuracy: float
    imagenet_top1: float | None
    """Share, of its ImageNet weights; None where their publisher does not say."""
    bundle: str
    """Folder of the network."""

    @property
    def accuracy(self) -> float:
        """Share of right verdicts on the test."""
        return self.correct / self.n

    @property
    def log_odds(self) -> float | None:
        """Logarithm of right over wrong verdicts; None where all are of one kind."""
        return log_odds(self.correct, self.n - self.correct)


def log_odds(right: float, wrong: float) -> float | None:
    """Return log(right / wrong); None where there is none of one kind."""
    return math.log(right / wrong) if right and wrong else None


def right_verdicts(
    bundle: Bundle, tiles: HarveyTiles, rows: npt.NDArray[np.int64]
) -> tuple[int, float]:
    """Return how many tiles a network tells right at logit 0, and its balanced accuracy."""
    features = torch.from_numpy(embed_tiles(bundle.network, tiles, rows))
    labels = tiles.labels[rows] == 1
    right = (head_logits(bundle.network, features) > 0) == labels
    of_each = [float(right[labels == label].mean()) for label in (False, True)]
    return int(right.sum()), sum(of_each) / 2
