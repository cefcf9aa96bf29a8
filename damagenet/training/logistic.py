"""Logistic regression that is solved for: the head of a network on features that stay."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

MAX_ITERATIONS = 300
TOLERANCE = 1e-9

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A head: logits are `features @ weight + bias`.

    Attributes:
        weight: float64 (F,).
        bias: What is added.
    """

    weight: Floats
    bias: float

    def logits(self, features: Floats) -> Floats:
        """Return logits (N,) of features (N, F)."""
        found: Floats = features @ self.weight + self.bias
        return found

    def put_into(self, linear: nn.Linear) -> None:
        """Write the numbers into the head of a network."""
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(self.weight)[None])
            linear.bias.fill_(self.bias)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scale:
    """The unit that each feature is measured in, so that a pull means the same for all of them.

    Attributes:
        mean: float64 (F,).
        deviation: float64 (F,), above 0.
    """

    mean: Floats
    deviation: Floats


def fit_logistic(
    features: Floats,
    damaged: Bools,
    weights: Floats,
    scale: Scale,
    *,
    pull: float,
    towards: Floats | None = None,
) -> Head:
    """Return the head with the least weighted cross-entropy and distance from another.

    The distance is `pull / 2` times the sum of squared differences of the weights of scaled
    features; the bias is free.

    Args:
        features: Of N chips, (N, F).
        damaged: Truth of each chip (N,).
        weights: What each chip counts (N,); together 1.
        scale: Of the features.
        pull: Strength of the pull, above 0.
        towards: Weights (F,) that the head is pulled to; without them it is 0.
    """
    inputs = torch.from_numpy((features - scale.mean) / scale.deviation)
    truth, counts = torch.from_numpy(damaged.astype(np.float64)), torch.from_numpy(weights)
    before = np.zeros(len(scale.mean)) if towards is None else towards * scale.deviation
    centre = torch.from_numpy(before)
    weight = centre.clone().requires_grad_()
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    problem = Problem(inputs=inputs, truth=truth, counts=counts, pull=pull, centre=centre)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        line_search_fn="strong_wolfe",
    )
    problem.minimise(optimizer, weight, bias)
    slopes = weight.detach().numpy() / scale.deviation
    return Head(weight=slopes, bias=float(bias.detach()) - float(slopes @ scale.mean))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What is minimised: the weighted cross-entropy, and how far the weights may go.

    Attributes:
        inputs: Scaled features, float64 (N, F).
        truth: 1 where damaged, else 0, float64 (N,).
        counts: What each chip counts, float64 (N,); together 1.
        pull: Half of it times the squared distance of the weights from `centre` is added.
        centre: Weights (F,) that cost nothing.
    """

    inputs: torch.Tensor
    truth: torch.Tensor
    counts: torch.Tensor
    pull: float
    centre: torch.Tensor

    def cost(self, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return what weights (F,) and a bias (1,) cost."""
        logits = self.inputs @ weight + bias
        loss = F.binary_cross_entropy_with_logits(
            logits, self.truth, weight=self.counts, reduction="sum"
        )
        return loss + self.pull / 2 * (weight - self.centre).square().sum()

    def minimise(
        self, optimizer: torch.optim.LBFGS, weight: torch.Tensor, bias: torch.Tensor
    ) -> None:
        """Move weights and bias in place, from where they are to where the cost is least."""

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            cost = self.cost(weight, bias)
            cost.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return cost

        optimizer.step(closure)  # type: ignore[no-untyped-call]  # likewise
