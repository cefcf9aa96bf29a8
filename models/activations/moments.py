"""What a function does to standard-normal numbers, and the gain that initialisers need."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.activations.build import (
    Setting,
    coefficients,
    make_layer,
    parameter_names,
    settle,
)
from models.activations.quadrature import Points, expected, points_of

SAMPLES = 1 << 20
"""Numbers drawn where there are too many inputs to integrate over."""
CHANNELS = 64
"""Channels of the layer that they enter, or the next number that is possible."""
MOST_CHANNELS = 4096
SEED = 0
STEP = 0.05
"""Of the variance, for slopes of what is drawn."""

Given = float | int | bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments of f(z) for independent z ~ N(0, 1), at the start values of the parameters."""

    mean: float
    sd: float
    second: float
    """Mean of f(z) ** 2."""
    gain: float
    """1 / sqrt(second): weights N(0, gain ** 2 / fan_in) keep the mean square of what enters."""
    slope_second: float | None
    """Mean of f'(z) ** 2; None where an output depends on more than one input."""
    variance_slope: float
    """What a small error of the variance before f is multiplied by up to the next f, where the
    weights between bring the variance 1 to 1: slope at 1 of v -> E f(sqrt(v) z)^2 / E f(z)^2.
    Below 1 depth corrects the variance, above 1 it loses it."""
    sampled: bool
    """Whether they were estimated from drawn numbers, not integrated."""


def moments(name: str, **parameters: Given) -> Moments:
    """Return the moments of an activation, in evaluation mode where it draws random numbers.

    Functions of one and of two inputs are integrated; those of more inputs, or of the whole
    tensor, are estimated from 2 ** 20 numbers drawn from a fixed seed, which gives 3 digits.

    Args:
        name: A name of the table.
        parameters: As in `build_activation`; how far they reach (`per`) changes nothing.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value cannot be used.
    """
    return _moments(name, tuple(sorted(parameters.items())))


def own_parameters(setting: Setting) -> dict[str, Given]:
    """Return what gives a setting again under its name, sharing and learning aside."""
    names = parameter_names(setting.name, setting.values)
    return {
        key: value
        for key, value in setting.values.items()
        # A number that is taken from the input is infinite, and cannot be given.
        if key in names and not (isinstance(value, float) and math.isinf(value))
    }


@lru_cache(maxsize=512)
def _moments(name: str, parameters: tuple[tuple[str, Given], ...]) -> Moments:
    setting = settle(name, dict(parameters))
    joined = inputs_joined(setting)
    channels = fewest_channels(setting) if joined else _wide(setting)
    points = points_of(joined) if joined else _drawn_points(channels)
    values = points.values.repeat(1, channels // points.values.shape[1])
    # Only one-input functions are asked for slopes; without them no kernel is compiled.
    with torch.set_grad_enabled(joined == 1):
        layer = exact_layer(setting, channels)
        result = layer(values.requires_grad_())
    mean, second = (expected(points, power) for power in (result, result.square()))
    slope_second = None
    if joined == 1:
        slope_second = expected(points, slopes(values, result).square())
    return Moments(
        mean=mean,
        sd=math.sqrt(max(0.0, second - mean**2)),
        second=second,
        gain=1 / math.sqrt(second),
        slope_second=slope_second,
        variance_slope=_integrated_slope(points, result, second)
        if joined
        else _drawn_slope(points, layer, second),
        sampled=not joined,
    )


def _integrated_slope(points: Points, result: torch.Tensor, second: float) -> float:
    """Return E f(z)^2 (|z|^2 - k) / (2 E f(z)^2) of k inputs, which asks for no slope of f."""
    length = points.values.square().sum(dim=1, keepdim=True) - points.values.shape[1]
    return expected(points, result.square() * length) / (2 * second)


def _drawn_slope(points: Points, layer: nn.Module, second: float) -> float:
    """Return the same by the difference of two variances, of the same drawn numbers."""
    with torch.no_grad():
        low, high = (
            expected(points, layer(points.values * math.sqrt(variance)).square())
            for variance in (1 - STEP, 1 + STEP)
        )
    return (high - low) / (2 * STEP * second)


def inputs_joined(setting: Setting) -> int:
    """Return how many inputs each output of a function depends on: 1 or 2.

    0 stands for more, for all channels that there are, and for the other images of the batch.
    """
    narrow, wide = (_reach(setting, width(setting)) for width in (fewest_channels, _wide))
    return narrow if narrow == wide and narrow <= 2 else 0


def _reach(setting: Setting, channels: int) -> int:
    """Return how many channels one output depends on; 0 where it depends on other images too."""
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(256, channels, dtype=torch.float64, generator=generator)
    result = exact_layer(setting, channels)(images.requires_grad_())
    (of_first,) = torch.autograd.grad(result[0].sum(), images, retain_graph=True)
    if of_first[1:].any():
        return 0
    # Of several operators the first gives the first outputs, and the last the last.
    depends = [_slope(images, column).any(dim=0) for column in (result[:, 0], result[:, -1])]
    return max(1, *(int(each.sum()) for each in depends))


def exact_layer(setting: Setting, channels: int) -> nn.Module:
    """Return a float64 layer of a function in evaluation mode, (N, channels) -> (N, outputs)."""
    # Its numbers at the start are the same however far they reach.
    alike = replace(setting, per="layer")
    return make_layer(alike, coefficients(alike, ()), channels=channels, dim=1).double().eval()


def fewest_channels(setting: Setting) -> int:
    """Return the fewest channels that a function can be given.

    Raises:
        ConfigError: If none up to `MOST_CHANNELS` will do.
    """
    for channels in range(1, MOST_CHANNELS):
        with suppress(ConfigError):
            return setting.width(channels)
    raise ConfigError(f"activation {setting.name!r} gives no width up to {MOST_CHANNELS} channels")


def _wide(setting: Setting) -> int:
    narrow = fewest_channels(setting)
    return narrow * math.ceil(CHANNELS / narrow)


def slopes(values: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """Return the derivative of each output of a one-input function, (P, outputs)."""
    columns = [_slope(values, column).sum(dim=1) for column in result.unbind(1)]
    return torch.stack(columns, dim=1)


def _slope(values: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    (slope,) = torch.autograd.grad(column.sum(), values, retain_graph=True)
    return slope


def _drawn_points(channels: int) -> Points:
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(SAMPLES // channels, channels, dtype=torch.float64, generator=generator)
    return Points(values=drawn, weights=torch.full((len(drawn),), 1 / len(drawn)).double())
