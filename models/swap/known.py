"""Which modules and which functions of torch are activations, and where they clip."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from damagenet.errors import ConfigError
from models.activations import ACTIVATIONS, ALIASES, Activation
from models.swap.clipped import Clipped

GATES = frozenset({"hardsigmoid", "hardtanh", "log_sigmoid", "sigmoid", "softplus", "tanh"})
"""They weigh, squash or build other functions rather than activate: left alone by default."""

BY_NAME = {
    "celu": "celu",
    "elu": "elu",
    "gelu": "gelu",
    "gelutanh": "gelu",
    "hardmish": "hardmish",
    "hardmishme": "hardmish",
    "hardsigmoid": "hardsigmoid",
    "hardsigmoidme": "hardsigmoid",
    "hardswish": "hardswish",
    "hardswishme": "hardswish",
    "hardtanh": "hardtanh",
    "hsigmoid": "hardsigmoid",
    "hswish": "hardswish",
    "leakyrelu": "leaky_relu",
    "logsigmoid": "log_sigmoid",
    "mish": "mish",
    "mishme": "mish",
    "prelu": "prelu",
    "quickgelu": "quick_gelu",
    "relu": "relu",
    "relu6": "relu6",
    "rrelu": "rrelu",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softplus": "softplus",
    "swish": "silu",
    "swishme": "silu",
    "tanh": "tanh",
}
"""Names of classes (torch's, timm's) and of functions and methods, in lower case and without
underscores, and the function that each computes."""


@dataclass(frozen=True, slots=True)
class Known:
    """An activation as it was found."""

    function: str
    ceiling: float | None = None
    """The value above which it clips; None where it does not."""
    ours: bool = False
    """Whether it is a site of this package's networks, or of an earlier swap."""


def known_module(module: nn.Module) -> Known | None:
    """Return which activation a module is; None for every other module."""
    if isinstance(module, Clipped):
        return Known(_name_of(module.activation), module.ceiling, ours=True)
    if isinstance(module, Activation):
        inner = known_module(module.function)
        return Known(_name_of(module), inner.ceiling if inner else None, ours=True)
    if isinstance(module, nn.Hardtanh):
        return _clip(module.min_val, module.max_val)
    function = BY_NAME.get(_plain(type(module).__name__))
    return None if function is None else Known(function)


def known_function(
    name: str, arguments: Sequence[object], options: Mapping[str, object]
) -> Known | None:
    """Return which activation a function or method of torch is; None for every other.

    Args:
        name: As `F.relu`, `torch.relu_` or `Tensor.relu` name themselves: `relu`, `relu_`.
        arguments: What it is called with, the features first.
        options: What it is called with by name.
    """
    function = BY_NAME.get(_plain(name))
    if function == "relu6":
        return Known("relu6", 6.0)
    if function == "hardtanh":
        low, high = [*arguments[1:3], None, None][:2]
        return _clip(options.get("min_val", low), options.get("max_val", high))
    return None if function is None else Known(function)


def wanted(kinds: Collection[str] | None) -> Callable[[Known], bool]:
    """Return what tells whether an activation is to be swapped.

    Args:
        kinds: Names of functions; None for all but the gates, and for all sites of our own.

    Raises:
        ConfigError: If a name is unknown.
    """
    names = {*BY_NAME.values(), *ACTIVATIONS, *ALIASES}
    for kind in kinds or ():
        if kind not in names:
            choices = ", ".join(sorted(set(BY_NAME.values())))
            raise ConfigError(f"unknown kind of activation {kind!r}; choose from: {choices}")
    if kinds is None:
        return lambda known: known.ours or known.function not in GATES
    return lambda known: known.function in kinds


def _clip(low: object, high: object) -> Known:
    """Return what torch's hardtanh is: with 0 at its lower end, a rectifier with a clip."""
    if low == 0 and isinstance(high, int | float):
        return Known("relu6", float(high))
    return Known("hardtanh")


def _name_of(site: Activation) -> str:
    if site.setting is not None:
        return site.setting.name
    known = known_module(site.function)
    return _plain(type(site.function).__name__) if known is None else known.function


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
