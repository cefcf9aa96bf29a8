"""The grids of Kornblith et al. 2019 (arXiv:1805.08974), as SimCLR's appendix tells them.

The values of a grid's weight decay are divided by the learning rate, so that each step takes the
same share off the weights whatever the learning rate.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from damagenet.recipe import Choice, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One training of a grid.

    Attributes:
        lr: Learning rate at its peak.
        decay: Weight decay times learning rate.
    """

    lr: float
    decay: float

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this learning rate and weight decay."""
        optimizer = recipe.training.optimizer
        parameters = optimizer.parameters | {"lr": self.lr, "weight_decay": self.decay / self.lr}
        chosen = Choice(name=optimizer.name, parameters=parameters)
        training = recipe.training.model_copy(update={"optimizer": chosen})
        return recipe.model_copy(update={"training": training})


def _spaced(lowest: float, highest: float, count: int) -> tuple[float, ...]:
    """Return values at equal ratios from 10^lowest to 10^highest."""
    return tuple(float(value) for value in np.logspace(lowest, highest, count))


def _crossed(lrs: tuple[float, ...], decays: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(Point(lr=lr, decay=decay) for lr, decay in product(lrs, decays))


GRIDS: dict[str, tuple[Point, ...]] = {
    "finetune": _crossed(_spaced(-4, -1, 7), (0.0, *_spaced(-6, -3, 7))),
    "scratch": _crossed(_spaced(-3, 0, 7), _spaced(-5, -1.5, 8)),
}
"""All points by protocol, by rising learning rate, then rising decay."""


def spread(points: tuple[Point, ...], count: int | None) -> tuple[Point, ...]:
    """Return so many points at equal distances through a grid; all where none or more is asked."""
    if count is None or count >= len(points):
        return points
    return tuple(points[int((part + 0.5) * len(points) / count)] for part in range(count))
