"""Rules of layers: weights, norms, dropout, padding, functions of single numbers and of rows."""

import math

import torch

from damagenet.errors import ConfigError
from models.autoinit.operation import Operation
from models.autoinit.sampling import drawn_through, through
from models.autoinit.signal import STANDARD, Signal, dropped, filled, matrix_product


def weighted(operation: Operation) -> Signal:
    """Convolutions and dense layers; padding inside a convolution is not counted."""
    entering, weight = operation.signal, operation.tensor(1, "weight")
    leaving = operation.plan.add(weight, operation.given(2, "bias"), entering)
    if leaving is not None:
        return leaving
    # The network computes these weights from others, which are left as they are.
    return matrix_product(entering, operation.signal_of(weight), weight[0].numel())


def unchanged(operation: Operation) -> Signal:
    """Reshape, crop, permute, resize: the same numbers, or some of them."""
    return operation.signal


def normalised(operation: Operation) -> Signal:
    """Norms bring mean and variance to 0 and 1."""
    del operation
    return STANDARD


def root_normalised(operation: Operation) -> Signal:
    """RMS norm divides by the root of the mean square, and the mean with it."""
    return operation.signal.scaled(1 / math.sqrt(operation.signal.second))


def without_some(operation: Operation) -> Signal:
    """Dropout as it is in training."""
    return after_dropout(operation.signal, operation.number(1, "p", 0.5))


def after_dropout(signal: Signal, share: float) -> Signal:
    """Return what dropout leaves.

    Raises:
        ConfigError: If it leaves nothing.
    """
    if share >= 1:
        raise ConfigError("a dropout of 1 leaves nothing that enters the next layer: lower it")
    return dropped(signal, share)


def padded(operation: Operation) -> Signal:
    """Padding with a constant; other kinds repeat what is there."""
    if operation.given(2, "mode", "constant") != "constant":
        return operation.signal
    widths, sides = operation.numbers(1, "pad"), list(operation.features.shape)
    for at, (low, high) in enumerate(zip(widths[::2], widths[1::2], strict=True), start=1):
        sides[-at] += min(0, low) + min(0, high)
    share = 1 - math.prod(sides) / operation.result.numel()
    return filled(operation.signal, share, operation.number(3, "value"))


def of_numbers(operation: Operation) -> Signal:
    """Functions of single numbers: the very call, on the nodes of an integral."""

    def function(values: torch.Tensor) -> torch.Tensor:
        others = [_valued(operation, each) for each in operation.arguments[1:]]
        options = {key: _valued(operation, each) for key, each in operation.options.items()}
        # Some calls overwrite what they are given.
        result = operation.function(values.clone(), *others, **options)
        assert isinstance(result, torch.Tensor)
        return result

    return through(function, operation.signal)


def _valued(operation: Operation, value: object) -> object:
    """Return an argument that has a value: for a tensor, as the slopes of PReLU, its mean."""
    if not isinstance(value, torch.Tensor):
        return value
    return torch.full((1,), operation.signal_of(value).mean, dtype=torch.float64)


def of_rows(operation: Operation) -> Signal:
    """Functions that look along an axis: the very call, on drawn rows of its length."""
    axis = operation.number(2, "dim", 1) if operation.name == "normalize" else _axis(operation)
    length = operation.features.shape[int(axis)]

    def function(rows: torch.Tensor) -> torch.Tensor:
        result = operation.function(rows, dim=-1)
        assert isinstance(result, torch.Tensor)
        return result

    draws = operation.plan.options.monte_carlo
    return drawn_through(function, operation.signal, shape=(length,), results=length, draws=draws)


def _axis(operation: Operation) -> float:
    return operation.number(1, "dim", -1)
