"""Optimisers by name, and which parameters get which learning rate and weight decay."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice
from models.activations import Activation
from models.classifier import Classifier
from models.stages import stages

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "sgd": SGD,
}
NOT_SETTABLE = ("params", "betas", "foreach", "capturable", "differentiable", "fused", "maximize")
"""What torch decides, and what is no single number."""
FACTOR = "factor"
"""Key in a group for what its learning rate is multiplied by."""
EMBEDDINGS = ("pos_embed", "position", "token")
"""Parts of the names of what a transformer adds to its features: no kernels, whatever shape."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The trainable parameters of a network, by what they do."""

    weights: list[nn.Parameter]
    """Kernels and matrices: the only ones that decay."""
    offsets: list[nn.Parameter]
    """Biases, the scales and shifts of norms, and embeddings."""
    activations: list[nn.Parameter]
    """Parameters inside activations."""


def parameter_roles(network: nn.Module) -> Roles:
    """Sort the trainable parameters of a network by what they do."""
    sites = [module for module in network.modules() if isinstance(module, Activation)]
    in_sites = {id(parameter) for site in sites for parameter in site.parameters()}
    roles = Roles([], [], [])
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in in_sites:
            roles.activations.append(parameter)
        elif parameter.ndim > 1 and not any(part in name for part in EMBEDDINGS):
            roles.weights.append(parameter)
        else:
            roles.offsets.append(parameter)
    return roles


def check_optimizer(choice: Choice) -> None:
    """Raise ConfigError if the optimiser or a parameter is unknown or out of range."""
    check_choice("optimizer", choice, OPTIMISERS, hidden=NOT_SETTABLE)
    _make(choice, [{"params": [nn.Parameter()]}])


def build_optimizer(
    choice: Choice,
    network: Classifier,
    *,
    activation_lr: float | None = None,
    layer_decay: float = 1.0,
) -> Optimizer:
    """Return the optimiser of a network's trainable parameters.

    Args:
        choice: Name and torch's own parameters (`lr`, `weight_decay` ...). Weight decay reaches
            kernels and matrices only.
        network: What is trained.
        activation_lr: Learning rate of the parameters inside activations, at every depth; None
            for that of their stage.
        layer_decay: Factor on the learning rate for each stage from the head backwards; the head
            has the optimiser's own.

    Raises:
        ConfigError: If the name or a parameter is unknown or out of range.
    """
    roles = parameter_roles(network)
    factors = _learning_rate_factors(network, layer_decay)
    groups = [
        *_grouped(roles.weights, factors),
        *_grouped(roles.offsets, factors, weight_decay=0.0),
    ]
    if activation_lr is None:
        groups += _grouped(roles.activations, factors, weight_decay=0.0)
    else:
        groups += _grouped(roles.activations, {}, weight_decay=0.0, lr=activation_lr)
    optimizer = _make(choice, groups)
    for group in optimizer.param_groups:
        group["lr"] *= group.pop(FACTOR)
    return optimizer


def _learning_rate_factors(network: Classifier, layer_decay: float) -> dict[int, float]:
    """Return the factor of each parameter by its id; those left out have 1."""
    if layer_decay == 1.0:
        return {}
    # A parameter that all sites of a network share counts as one of the last stage.
    return {
        id(parameter): layer_decay**distance
        for distance, stage in reversed([*enumerate(reversed(stages(network)), start=1)])
        for parameter in stage.parameters()
    }


def _grouped(
    parameters: list[nn.Parameter], factors: dict[int, float], **settings: float
) -> list[dict[str, object]]:
    """Return one group of an optimiser for each learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": each, FACTOR: factor, **settings} for factor, each in groups.items()]


def _make(choice: Choice, groups: list[dict[str, object]]) -> Optimizer:
    try:
        return OPTIMISERS[choice.name](groups, **choice.parameters)
    except (TypeError, ValueError) as err:
        raise ConfigError(f"optimizer {choice.name!r}: {err}") from err
