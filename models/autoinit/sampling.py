"""What a function does to normal numbers: integrated where that is possible, else drawn."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch

from models.activations.build import Setting, settle
from models.activations.moments import (
    SEED,
    exact_layer,
    fewest_channels,
    inputs_joined,
    own_parameters,
)
from models.activations.quadrature import Points, expected, points_of
from models.autoinit.signal import Signal

MOST_NUMBERS = 1 << 24
"""Numbers drawn at most at a time: 64 MB."""
Function = Callable[[torch.Tensor], torch.Tensor]
Parameters = tuple[tuple[str, float | int | bool | str], ...]


def through(function: Function, signal: Signal) -> Signal:
    """Return what leaves a function of single numbers, by numerical integration."""
    return _moments(_points(1), function, signal)


def through_activation(
    setting: Setting, signal: Signal, *, channels: int, draws: int, ceiling: float = math.inf
) -> Signal:
    """Return what leaves an activation at the start values of its parameters.

    Functions of one and of two inputs are integrated, others drawn. Those that draw random
    numbers are taken as they are in training.

    Args:
        setting: The activation.
        signal: What enters.
        channels: How many channels enter, for functions of all of them.
        draws: Numbers to draw where there are too many inputs to integrate over.
        ceiling: Where results are clipped.
    """
    parameters = tuple(sorted(own_parameters(setting).items()))
    return _through(
        setting.name, parameters, signal, channels=channels, draws=draws, ceiling=ceiling
    )


@lru_cache(maxsize=4096)
def _through(
    name: str,
    parameters: Parameters,
    signal: Signal,
    *,
    channels: int,
    draws: int,
    ceiling: float,
) -> Signal:
    setting = settle(name, dict(parameters))
    inputs = _inputs(name, parameters)
    entering = fewest_channels(setting) if inputs else channels
    points = _points(inputs) if inputs else _drawn(max(2, draws // channels), channels)
    layer = exact_layer(setting, entering)
    if setting.function.in_training is not None:
        layer.train()

    def function(values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = layer(values.repeat(1, entering // values.shape[1]))
        return result.clamp(max=ceiling)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        return _moments(points, function, signal)


def drawn_through(
    function: Function, signal: Signal, *, shape: tuple[int, ...], results: int, draws: int
) -> Signal:
    """Return what leaves a function of many numbers, estimated from drawn ones.

    The numbers come from a fixed seed, so that torch's own generator does not move.

    Args:
        function: Takes float32 (n, *shape).
        signal: What enters.
        shape: Of what enters together.
        results: How many numbers come out of each.
        draws: Results that are wanted in all; fewer where that would take `MOST_NUMBERS`.
    """
    together = math.prod(shape)
    count = min(math.ceil(draws / results), max(2, MOST_NUMBERS // together))
    generator = torch.Generator().manual_seed(SEED)
    values = torch.randn((count, *shape), generator=generator)
    result = function(values.mul_(math.sqrt(signal.variance)).add_(signal.mean)).double()
    return Signal(result.mean().item(), result.var(correction=0).item())


def _moments(points: Points, function: Function, signal: Signal) -> Signal:
    with torch.no_grad():
        result = function(signal.mean + math.sqrt(signal.variance) * points.values)
    mean = expected(points, result)
    # Around the mean, as a difference of squares would have no digits left beside a large one.
    return Signal(mean, expected(points, (result - mean).square()))


@lru_cache(maxsize=256)
def _inputs(name: str, parameters: Parameters) -> int:
    with torch.enable_grad():
        return inputs_joined(settle(name, dict(parameters)))


@lru_cache(maxsize=2)
def _points(inputs: int) -> Points:
    return points_of(inputs)


def _drawn(rows: int, channels: int) -> Points:
    generator = torch.Generator().manual_seed(SEED)
    values = torch.randn(rows, channels, dtype=torch.float64, generator=generator)
    return Points(values=values, weights=torch.full((rows,), 1 / rows).double())
