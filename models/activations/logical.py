"""Logical activations (Lowe et al., arXiv:2110.11940): Boolean operators on logits.

Inputs are the logits of independent events, the output is the logit of the joined event. `il`
operators are exact, `ail` ones approximate them by planes. Each function takes the tensors that it
joins, two or more of one shape, and returns one of that shape.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch

Parts = Sequence[torch.Tensor]


def or_il(parts: Parts) -> torch.Tensor:
    """Return the logit of "at least one"."""
    return reduce(_or_il, parts)


def and_il(parts: Parts) -> torch.Tensor:
    """Return the logit of "all", by De Morgan's law."""
    return -or_il([-part for part in parts])


def parity_il(parts: Parts) -> torch.Tensor:
    """Return the logit of "an even number", 2 atanh(prod tanh(-z / 2)); of two that is XNOR."""
    return _even(reduce(_xnor_il, parts), len(parts))


def or_ail(parts: Parts) -> torch.Tensor:
    """Return the sum of the positive inputs if there is one, else the largest."""
    return reduce(_or_ail, parts)


def and_ail(parts: Parts) -> torch.Tensor:
    """Return the sum of the negative inputs if there is one, else the smallest."""
    return -or_ail([-part for part in parts])


def parity_ail(parts: Parts) -> torch.Tensor:
    """Return (-1)^k sign(product) times the smallest size among the k inputs."""
    return _even(reduce(_xnor_ail, parts), len(parts))


def maxout(parts: Parts) -> torch.Tensor:
    """Return the largest (Goodfellow et al. 2013, arXiv:1302.4389)."""
    return reduce(torch.maximum, parts)


def minout(parts: Parts) -> torch.Tensor:
    """Return the smallest."""
    return reduce(torch.minimum, parts)


def _or_ail(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a + b if both are positive, else the larger."""
    return torch.maximum(a, b) + torch.relu(torch.minimum(a, b))


def _or_il(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return log(exp(a) + exp(b) + exp(a + b)), also where a + b is beyond all numbers."""
    high, low = torch.maximum(a, b), torch.minimum(a, b)
    # The result does not depend on what is taken out of the exponents, so no gradient does.
    shift = torch.relu(low).detach()
    summed = torch.exp(-shift) + torch.exp(low - high - shift) + torch.exp(low - shift)
    return high + shift + torch.log(summed)


def _xnor_ail(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return sign(a b) min(|a|, |b|), with a gradient at 0 too."""
    return torch.maximum(torch.minimum(a, b), -torch.maximum(a, b))


def _xnor_il(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the logit of "both or none", log(1 + exp(a + b)) - log(exp(a) + exp(b))."""
    # Where one input is small, so may be the result: only the product of tanh has its digits.
    small = torch.minimum(a.abs(), b.abs()) < 1
    product = torch.where(small, torch.tanh(a / 2) * torch.tanh(b / 2), 0.0)
    of_sum, of_difference = torch.exp(-(a + b).abs()), torch.exp(-(a - b).abs())
    ratio = torch.where(
        small, 2 * product / (1 - product), (of_sum - of_difference) / (1 + of_difference)
    )
    return torch.where(small, 0.0, _xnor_ail(a, b)) + torch.log1p(ratio)


def _even(odd_counts_negated: torch.Tensor, count: int) -> torch.Tensor:
    """Turn chained XNOR into parity: of an odd number of inputs it is the negation."""
    return -odd_counts_negated if count % 2 else odd_counts_negated


Operator = Callable[[Parts], torch.Tensor]

OPERATORS: dict[str, dict[str, Operator]] = {
    "il": {"and": and_il, "or": or_il, "xnor": parity_il},
    "ail": {"and": and_ail, "or": or_ail, "xnor": parity_ail},
}
"""By form and name; normalised forms have the operators of the form that they normalise."""
