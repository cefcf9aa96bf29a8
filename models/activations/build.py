"""From a name and parameters to a layer: what is asked is checked, then made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

from torch import nn

from damagenet.config import meant
from damagenet.errors import ConfigError
from models.activations.coefficients import LARGEST, Coefficients, in_range
from models.activations.function import Function, Parameter, Sharing
from models.activations.joining import Join
from models.activations.planes import Joined
from models.activations.pointwise import Pointwise
from models.activations.settings import ALIASES
from models.activations.table import ACTIVATIONS

Given = Mapping[str, float | int | bool | str]
"""Parameters as a recipe gives them."""
OUR_OWN = ("per", "learnable")
"""Parameters of every function that has numbers to train."""

WANTED = {
    "any": "a finite number",
    "positive": "above 0",
    "not negative": "at least 0",
    "unit": "at least 0 and below 1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A function with every parameter settled."""

    name: str
    function: Function
    numbers: dict[str, float]
    words: dict[str, str]
    counts: dict[str, int]
    trained: dict[str, Parameter]
    """Those of the numbers that are trained; none where the recipe fixes them."""
    per: Sharing

    @property
    def values(self) -> dict[str, float | int | str]:
        """Every parameter by name."""
        return {**self.counts, **self.words, **self.numbers}

    def width(self, channels: int) -> int:
        """Return how many channels must enter for `channels` to come out.

        Raises:
            ConfigError: If no number does.
        """
        width = self.function.width
        try:
            return channels if width is None else width(channels, self.values)
        except ConfigError as err:
            raise ConfigError(f"activation {self.name!r}: {err}") from err


def parameter_names(name: str, given: Given | None = None) -> list[str]:
    """Return the parameters that the activation `name` takes.

    Args:
        name: A name of the table.
        given: What is asked of it, as the count of terms decides which numbers there are.

    Raises:
        ConfigError: If there is no such activation, or a count cannot be used.
    """
    function, preset = _row(name)
    asked = {**preset, **(given or {})}
    counts = {key: _count(name, key, asked, function) for key in function.counts}
    numbers = function.parameters_of(counts)
    own = OUR_OWN if any(each.learnable for each in numbers.values()) else ()
    names = [*numbers, *function.words, *function.counts, *own]
    # What the name itself has settled is not set twice, but its numbers may be.
    return [key for key in names if key not in preset or key in numbers]


def settle(name: str, given: Given) -> Setting:
    """Check the parameters of an activation and fill in what was left out.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value cannot be used; the
            message names both.
    """
    function, preset = _row(name)
    allowed = parameter_names(name, given)
    for key in given:
        if key not in allowed:
            takes = ", ".join(allowed) or "none"
            raise ConfigError(f"activation {name!r} has no parameter {key!r}; it takes: {takes}")
    merged = {**preset, **given}
    counts = {key: _count(name, key, merged, function) for key in function.counts}
    parameters = function.parameters_of(counts)
    numbers = {key: _number(name, key, merged, each) for key, each in parameters.items()}
    for key, each in parameters.items():
        if each.inverse_of and key not in merged:
            numbers[key] = _inverse(name, each.inverse_of, numbers[each.inverse_of])
    if function.derived:
        derived = function.derived(counts)
        numbers |= {key: number for key, number in derived.items() if key not in merged}
    words = {key: _word(name, key, merged, choices) for key, choices in function.words.items()}
    learnable = merged.get("learnable", True)
    if not isinstance(learnable, bool):
        raise ConfigError(
            f"activation {name!r}: learnable must be true or false, got {learnable!r}"
        )
    per = _sharing(name, merged.get("per", function.per))
    if per == "pixel" and (function.layer is not None or function.joins):
        raise ConfigError(f"activation {name!r} per: pixel is not possible: use channel or layer")
    return Setting(
        name=name,
        function=function,
        numbers=numbers,
        words=words,
        counts=counts,
        trained={key: each for key, each in parameters.items() if each.learnable and learnable},
        per=per,
    )


def build_activation(
    name: str,
    *,
    channels: int | None = None,
    dim: int = 1,
    shape: tuple[int, ...] | None = None,
    **parameters: float | int | bool | str,
) -> nn.Module:
    """Return a fresh activation layer, (N, C, ...) -> the same shape, or fewer or more channels.

    Args:
        name: A name of the table (`damagenet activations` lists it).
        channels: Channels that come out; without them the numbers are one set per layer, unless
            `per` says otherwise.
        dim: Axis of the channels.
        shape: Size (C, H, W) of what enters; needed for `per: pixel` only.
        parameters: The function's own parameters, and `per` and `learnable`.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value cannot be used.
    """
    unsized = channels is None and shape is None and "per" in parameter_names(name, parameters)
    setting = settle(name, {"per": "layer", **parameters} if unsized else parameters)
    size = _size(setting, channels, shape)
    return make_layer(setting, coefficients(setting, size), channels=channels, dim=dim)


def _size(setting: Setting, channels: int | None, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    if not setting.trained or setting.per in ("layer", "network"):
        return ()
    size = shape if setting.per == "pixel" else channels and (channels,)
    if not size:
        raise ConfigError(
            f"activation {setting.name!r} per: {setting.per} needs the size of what enters"
        )
    return size


def coefficients(setting: Setting, shape: tuple[int, ...]) -> Coefficients | None:
    """Return fresh trained parameters of a shape; None where the function has none of its own."""
    if not setting.trained or setting.function.layer is not None:
        return None
    return Coefficients(setting.trained, setting.numbers, shape=shape)


def make_layer(
    setting: Setting, trained: Coefficients | None, *, channels: int | None, dim: int
) -> nn.Module:
    """Return a layer of a function with the given trained parameters.

    Args:
        setting: The function and the values of its parameters.
        trained: Those that are trained; None where there are none.
        channels: Channels of what comes in, where that is known.
        dim: Axis of the channels.

    Raises:
        ConfigError: If a function that is a layer of its own refuses its values.
    """
    function = setting.function
    if function.layer is not None:
        own = channels if setting.per == "channel" or function.width is not None else None
        try:
            layer = function.layer(setting.values, channels=own, dim=dim)
        except (TypeError, ValueError, RuntimeError) as err:
            told = ", ".join(f"{key}={value!r}" for key, value in setting.values.items())
            raise ConfigError(
                f"activation {setting.name!r} cannot be made with {told}: {err}"
            ) from err
        return layer.requires_grad_(bool(setting.trained))
    assert function.value is not None
    held = set(setting.trained)
    fixed = {key: value for key, value in setting.values.items() if key not in held}
    if function.series:
        fixed.pop("terms", None)
    if function.joins:
        fixed["dim"] = dim
    if isinstance(function.value, Join):
        return Joined(function.value, fixed=fixed, coefficients=trained, dim=dim)
    return Pointwise(
        function.value,
        in_training=function.in_training,
        fixed=fixed,
        coefficients=trained,
        dim=dim,
    )


def _row(name: str) -> tuple[Function, Given]:
    base, preset = ALIASES.get(name, (name, {}))
    if base not in ACTIVATIONS:
        choices = sorted({*ACTIVATIONS, *ALIASES})
        raise ConfigError(
            f"unknown activation {name!r}{meant(name, choices)}; choose one of: "
            f"{', '.join(choices)}"
        )
    return ACTIVATIONS[base], preset


def _number(name: str, key: str, given: Given, parameter: Parameter) -> float:
    if key not in given:
        return parameter.initial
    value = given[key]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigError(f"activation {name!r}: {key} must be a number, got {value!r}")
    if not in_range(value, parameter):
        wanted = WANTED[parameter.range]
        raise ConfigError(f"activation {name!r}: {key} must be {wanted}, got {value!r}")
    return float(value)


def _inverse(name: str, key: str, value: float) -> float:
    if abs(value) < 1 / LARGEST:
        raise ConfigError(f"activation {name!r}: 1 / {key} is needed, and {key} is {value!r}")
    return 1 / value


def _count(name: str, key: str, given: Given, function: Function) -> int:
    count = function.counts[key]
    value = given.get(key, count.usual)
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    # NaN and infinity lie within no bounds.
    if count.low <= number <= count.high and number == int(number):
        return int(number)
    raise ConfigError(
        f"activation {name!r}: {key} must be a whole number within "
        f"{count.low}..{count.high}, got {value!r}"
    )


def _word(name: str, key: str, given: Given, choices: tuple[str, ...]) -> str:
    value = given.get(key, choices[0])
    if value not in choices:
        raise ConfigError(
            f"activation {name!r}: {key} must be one of {', '.join(choices)}, got {value!r}"
        )
    return str(value)


def _sharing(name: str, value: object) -> Sharing:
    if value not in get_args(Sharing):
        raise ConfigError(
            f"activation {name!r}: per must be one of {', '.join(get_args(Sharing))}, got {value!r}"
        )
    return cast(Sharing, value)
