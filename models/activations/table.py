"""The table of activation functions and how one is made from its name."""

import inspect
from collections.abc import Callable

import torch
from torch import nn

from damagenet.errors import ConfigError

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "log_sigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}

# `inplace` would overwrite what a residual sum still needs; the others say where, not what.
NOT_SETTABLE = {"inplace", "device", "dtype", "args", "kwargs"}


def activation_parameters(name: str) -> list[str]:
    """Return the parameter names that the activation `name` takes.

    Raises:
        ConfigError: If there is no such activation.
    """
    if name not in ACTIVATIONS:
        choices = ", ".join(sorted(ACTIVATIONS))
        raise ConfigError(f"unknown activation {name!r}; choose one of: {choices}")
    taken = inspect.signature(ACTIVATIONS[name]).parameters
    return [parameter for parameter in taken if parameter not in NOT_SETTABLE]


def build_activation(name: str, **parameters: float | int | bool | str) -> nn.Module:
    """Return a fresh activation layer, (N, C, ...) -> the same shape.

    Args:
        name: One of `ACTIVATIONS`.
        parameters: The function's own parameters, under torch's names (`negative_slope` ...).

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value cannot be used.
    """
    allowed = activation_parameters(name)
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        choices = ", ".join(allowed) or "none"
        raise ConfigError(
            f"activation {name!r} has no parameter {unknown[0]!r}; it takes: {choices}"
        )
    channels = parameters.get("num_parameters", 1)
    try:
        layer = ACTIVATIONS[name](**parameters)
        # torch looks at most values only when the layer runs, so it runs once here.
        layer(torch.zeros(1, int(channels)))
    except (TypeError, ValueError, RuntimeError) as err:
        given = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
        raise ConfigError(f"activation {name!r} cannot be made with {given}: {err}") from err
    return layer
