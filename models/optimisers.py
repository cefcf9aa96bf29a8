"""Optimisers by name, and which parameters get which learning rate and weight decay."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice
from models.activations import Activation

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "sgd": SGD,
}
NOT_SETTABLE = ("params", "betas", "foreach", "capturable", "differentiable", "fused", "maximize")
"""What torch decides, and what is no single number."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The trainable parameters of a network, by what they do."""

    weights: list[nn.Parameter]
    """Kernels and matrices: the only ones that decay."""
    offsets: list[nn.Parameter]
    """Biases and the scales and shifts of norms."""
    activations: list[nn.Parameter]
    """Parameters inside activations."""


def parameter_roles(network: nn.Module) -> Roles:
    """Sort the trainable parameters of a network by what they do."""
    sites = [module for module in network.modules() if isinstance(module, Activation)]
    in_sites = {id(parameter) for site in sites for parameter in site.parameters()}
    roles = Roles([], [], [])
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in in_sites:
            roles.activations.append(parameter)
        elif parameter.ndim > 1:
            roles.weights.append(parameter)
        else:
            roles.offsets.append(parameter)
    return roles


def check_optimizer(choice: Choice) -> None:
    """Raise ConfigError if the optimiser or a parameter is unknown or out of range."""
    check_choice("optimizer", choice, OPTIMISERS, hidden=NOT_SETTABLE)
    _make(choice, [{"params": [nn.Parameter()]}])


def build_optimizer(
    choice: Choice, network: nn.Module, *, activation_lr: float | None = None
) -> Optimizer:
    """Return the optimiser of a network's trainable parameters.

    Args:
        choice: Name and torch's own parameters (`lr`, `weight_decay` ...). Weight decay reaches
            kernels and matrices only.
        network: What is trained.
        activation_lr: Learning rate of the parameters inside activations; None for the same.

    Raises:
        ConfigError: If the name or a parameter is unknown or out of range.
    """
    roles = parameter_roles(network)
    groups: list[dict[str, object]] = [
        {"params": roles.weights},
        {"params": roles.offsets, "weight_decay": 0.0},
        {"params": roles.activations, "weight_decay": 0.0},
    ]
    if activation_lr is not None:
        groups[2]["lr"] = activation_lr
    return _make(choice, [group for group in groups if group["params"]])


def _make(choice: Choice, groups: list[dict[str, object]]) -> Optimizer:
    try:
        return OPTIMISERS[choice.name](groups, **choice.parameters)
    except (TypeError, ValueError) as err:
        raise ConfigError(f"optimizer {choice.name!r}: {err}") from err
