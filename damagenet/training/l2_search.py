"""Logistic regression along a grid of L2 strengths (Kornblith et al. 2019, arXiv:1805.08974).

Each strength is solved for from the solution of the one before. What validation scores best is
solved for once more, on training and validation together.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from damagenet.training.logistic import Bools, Floats, Head, Problem, Scale

log = logging.getLogger(__name__)

L2_VALUES: tuple[float, ...] = tuple(float(value) for value in np.logspace(-6, 5, 45))
"""The strengths, weakest first; each is 10^0.25 times the one before."""
MAX_ITERATIONS = 1000
FLAT = 1e-6
"""Largest slope of the cost at which it counts as solved."""
SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Chips of one part of a split: features float64 (N, F), and which are damaged (N,)."""

    features: Floats
    damaged: Bools

    def joined(self, other: "Part") -> "Part":
        """Return the chips of both."""
        return Part(
            features=np.concatenate([self.features, other.features]),
            damaged=np.concatenate([self.damaged, other.damaged]),
        )

    @property
    def scale(self) -> Scale:
        """Mean and deviation of each feature."""
        deviation = self.features.std(axis=0) + SMALLEST_DEVIATION
        return Scale(mean=self.features.mean(axis=0), deviation=deviation)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """The head at one strength.

    Attributes:
        l2: The strength: half of it times the squared weights of standardised features is added
            to the mean cross-entropy.
        weight: Of standardised features, float64 (F,).
        bias: float64 (1,).
        slope: Largest absolute slope of the cost that is left, over weights in the solver's unit,
            1 / sqrt(1 + l2).
    """

    l2: float
    weight: torch.Tensor
    bias: torch.Tensor
    slope: float

    @property
    def converged(self) -> bool:
        """Whether the cost is flat where the solver stopped."""
        return self.slope <= FLAT

    def head(self, scale: Scale) -> Head:
        """Return it as the head of the features as they are."""
        slopes: npt.NDArray[np.float64] = self.weight.numpy() / scale.deviation
        return Head(weight=slopes, bias=float(self.bias) - float(slopes @ scale.mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one strength gave on validation, with verdicts at logit 0, and whether it is solved."""

    l2: float
    accuracy: float
    balanced_accuracy: float
    slope: float
    converged: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """The end of a search.

    Attributes:
        l2: The strength with the highest score; of equal ones the strongest.
        trials: All strengths, weakest first.
        judged: The head that saw training alone, for verdicts on validation.
        refitted: The head of training and validation together.
        converged: Whether the last one is solved.
    """

    l2: float
    trials: tuple[Trial, ...]
    judged: Head
    refitted: Head
    converged: bool


def search_l2(training: Part, validation: Part, *, select_on: str = "accuracy") -> Chosen:
    """Choose the strength on validation, and solve for the head on both parts.

    Args:
        training: Both classes.
        validation: Both classes.
        select_on: `accuracy` or `balanced_accuracy`, of verdicts at logit 0.
    """
    scale = training.scale
    found = list(solve_path(training, scale, sorted(L2_VALUES, reverse=True)))
    trials = [_judge(solution, validation, scale) for solution in found]
    # The first of equal ones is the strongest, as the path begins with it.
    best = max(range(len(trials)), key=lambda place: getattr(trials[place], select_on))
    whole = training.joined(validation)
    last = solve(whole, scale, found[best].l2, start=found[best])
    unsolved = [trial.l2 for trial in trials if not trial.converged]
    if unsolved:
        log.warning(
            "L-BFGS did not converge within %d steps at %d of %d L2 values (%g to %g)",
            *(MAX_ITERATIONS, len(unsolved), len(trials), min(unsolved), max(unsolved)),
        )
    if not last.converged:
        log.warning("the chosen head, L2 %g, did not converge: slope %.1e", last.l2, last.slope)
    return Chosen(
        l2=last.l2,
        trials=tuple(reversed(trials)),
        judged=found[best].head(scale),
        refitted=last.head(scale),
        converged=last.converged,
    )


def solve_path(part: Part, scale: Scale, strengths: list[float]) -> Iterator[Solution]:
    """Yield the head at each strength, each solved for from the one before."""
    before = None
    for l2 in strengths:
        before = solve(part, scale, l2, start=before)
        yield before


def solve(part: Part, scale: Scale, l2: float, *, start: Solution | None = None) -> Solution:
    """Return the head at one strength, solved for from zero or from another solution."""
    inputs = torch.from_numpy((part.features - scale.mean) / scale.deviation)
    count, width = inputs.shape
    # In a unit in which the pull bends the cost by at most 1: in another, rounding would keep
    # the solver from the end of a strong one.
    unit = (1 + l2) ** -0.5
    problem = Problem(
        inputs=inputs * unit,
        truth=torch.from_numpy(part.damaged.astype(np.float64)),
        counts=torch.full((count,), 1 / count, dtype=torch.float64),
        pull=l2 * unit**2,
        centre=torch.zeros(width, dtype=torch.float64),
    )
    weight = torch.zeros(width, dtype=torch.float64) if start is None else start.weight / unit
    bias = torch.zeros(1, dtype=torch.float64) if start is None else start.bias.clone()
    unknowns = [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(
        unknowns,
        max_iter=MAX_ITERATIONS,
        tolerance_grad=FLAT / 10,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    problem.minimise(optimizer, weight, bias)
    slopes = torch.autograd.grad(problem.cost(weight, bias), unknowns)
    return Solution(
        l2=l2,
        weight=weight.detach() * unit,
        bias=bias.detach(),
        slope=max(float(slope.abs().max()) for slope in slopes),
    )


def _judge(solution: Solution, validation: Part, scale: Scale) -> Trial:
    right = (solution.head(scale).logits(validation.features) > 0) == validation.damaged
    of_each = [float(right[validation.damaged == label].mean()) for label in (False, True)]
    return Trial(
        l2=solution.l2,
        accuracy=float(right.mean()),
        balanced_accuracy=sum(of_each) / 2,
        slope=solution.slope,
        converged=solution.converged,
    )
