"""Rules of arithmetic: what sums, products and joins of tensors do to mean and variance.

Tensors are taken as independent of each other.
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch

from models.autoinit.operation import Operation
from models.autoinit.signal import Signal, added, joined, matrix_product, multiplied


def summed(operation: Operation) -> Signal:
    """Add or subtract tensors or numbers."""
    one, other = operation.operand(0, "input"), operation.operand(1, "other")
    if "rsub" in operation.name:
        one, other = other, one
    weight = operation.options.get("alpha", 1)
    assert isinstance(weight, int | float)
    return added(one, other, -weight if "sub" in operation.name else weight)


def product(operation: Operation) -> Signal:
    """Multiply tensors or numbers."""
    return multiplied(operation.operand(0, "input"), operation.operand(1, "other"))


def quotient(operation: Operation) -> Signal:
    """Divide by a number, or by a tensor as if it were its mean."""
    one, other = operation.operand(0, "input"), operation.operand(1, "other")
    return one.scaled(1 / other.mean if other.mean else math.inf)


def negative(operation: Operation) -> Signal:
    """Turn the sign."""
    return operation.signal.scaled(-1)


def concatenation(operation: Operation) -> Signal:
    """Join or stack tensors."""
    tensors = operation.given(0, "tensors")
    assert isinstance(tensors, Sequence)
    return joined(
        [operation.signal_of(each) for each in tensors], [each.numel() for each in tensors]
    )


def mean(operation: Operation) -> Signal:
    """Average over some axes or all."""
    common = operation.features.numel() // operation.result.numel()
    return Signal(operation.signal.mean, operation.signal.variance / common)


def total(operation: Operation) -> Signal:
    """Sum over some axes or all."""
    common = operation.features.numel() // operation.result.numel()
    return Signal(common * operation.signal.mean, common * operation.signal.variance)


def matrices(operation: Operation) -> Signal:
    """Multiply two matrices."""
    first, second = operation.tensor(0, "input"), operation.tensor(1, "other")
    return matrix_product(operation.signal_of(first), operation.signal_of(second), first.shape[-1])


def einstein(operation: Operation) -> Signal:
    """Einstein's sum of tensors, its equation in letters."""
    equation, *tensors = operation.arguments
    terms, _, result = str(equation).replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    signals: list[Signal] = []
    for term, tensor in zip(terms.split(","), tensors, strict=True):
        assert isinstance(tensor, torch.Tensor)
        sizes |= zip(term, tensor.shape, strict=True)
        signals.append(operation.signal_of(tensor))
    common = math.prod(size for letter, size in sizes.items() if letter not in result)
    single = reduce(multiplied, signals)
    return Signal(common * single.mean, common * single.variance)


def yes_or_no(operation: Operation) -> Signal:
    """Draw ones with a probability, else zeros."""
    share = operation.number(1, "p", 0.5)
    return Signal(share, share * (1 - share))


def zeros(operation: Operation) -> Signal:
    """Nothing but zeros."""
    del operation
    return Signal(0.0, 0.0)


def ones(operation: Operation) -> Signal:
    """Nothing but ones."""
    del operation
    return Signal(1.0, 0.0)
