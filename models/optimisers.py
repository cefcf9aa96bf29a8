"""Optimisers by name, and which parameters get which learning rate and weight decay."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice
from models.activations import Activation
from models.classifier import Classifier
from models.langevin import LSGD, LAdadelta, LAdam, LAdam2, Langevin, LRMSprop, noisy_parameters
from models.langevin.noise import Group, Noise
from models.stages import stages

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "l_adadelta": LAdadelta,
    "l_adam": LAdam,
    "l_adam2": LAdam2,
    "l_rmsprop": LRMSprop,
    "l_sgd": LSGD,
    "rmsprop": RMSprop,
    "sgd": SGD,
}
NOT_SETTABLE = (
    *("params", "betas", "foreach", "capturable", "differentiable", "fused", "maximize"),
    "noise",
)
"""What torch decides, and what is no single number."""
NOISE = tuple(field.name for field in fields(Noise) if field.name != "steps")
"""Parameters of every optimiser that adds noise."""
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
    """Raise ConfigError if the optimiser or a parameter is unknown, out of range or not finite.

    Names of layers are checked by `build_optimizer`, which knows the network.
    """
    more = NOISE if adds_noise(choice) else ()
    check_choice("optimizer", choice, OPTIMISERS, hidden=NOT_SETTABLE, more=more)
    for name, value in choice.parameters.items():
        # torch takes an infinite rate, and a momentum that is no number. A cap may be infinite.
        if name != "max_precond" and isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"optimizer {choice.name!r}: {name} must be finite, got {value}")
    _make(choice, [{"params": [nn.Parameter()]}])


def adds_noise(choice: Choice) -> bool:
    """Whether an optimiser adds noise to its steps."""
    maker = OPTIMISERS.get(choice.name)
    return isinstance(maker, type) and issubclass(maker, Langevin)


def build_optimizer(
    choice: Choice,
    network: Classifier,
    *,
    activation_lr: float | None = None,
    layer_decay: float = 1.0,
    steps: int | None = None,
) -> Optimizer:
    """Return the optimiser of a network's trainable parameters.

    Args:
        choice: Name and torch's own parameters (`lr`, `weight_decay` ...). Weight decay reaches
            kernels and matrices only, noise all parameters of the layers that it is for.
        network: What is trained.
        activation_lr: Learning rate of the parameters inside activations, at every depth; None
            for that of their stage.
        layer_decay: Factor on the learning rate for each stage from the head backwards; the head
            has the optimiser's own.
        steps: Length of the training, for noise that changes on the way.

    Raises:
        ConfigError: If the name, a parameter or a layer is unknown, or a value out of range.
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
    optimizer = _make(choice, groups, network=network, steps=steps)
    for group in optimizer.param_groups:
        group["lr"] *= group.pop(FACTOR)
    return optimizer


def train_beside(optimizer: Optimizer, extra: nn.Module) -> None:
    """Add what is trained beside a network, such as the decoder of a loss, to its optimiser.

    Weight decay reaches kernels and matrices only, here too. Noise that is for some layers of the
    network reaches none of it, as it is no layer of the network.

    Args:
        optimizer: Of the network; gets further groups, with its own learning rate.
        extra: What stands beside; without parameters nothing is added.
    """
    roles = parameter_roles(extra)
    chosen = isinstance(optimizer, Langevin) and not optimizer.noise.everywhere
    quiet = {"sigma": 0.0} if chosen else {}
    if roles.weights:
        optimizer.add_param_group({"params": roles.weights, **quiet})
    if others := [*roles.offsets, *roles.activations]:
        optimizer.add_param_group({"params": others, "weight_decay": 0.0, **quiet})


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
) -> list[Group]:
    """Return one group of an optimiser for each learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": each, FACTOR: factor, **settings} for factor, each in groups.items()]


def _make(
    choice: Choice,
    groups: list[Group],
    *,
    network: Classifier | None = None,
    steps: int | None = None,
) -> Optimizer:
    maker = OPTIMISERS[choice.name]
    try:
        if not adds_noise(choice):
            return maker(groups, **choice.parameters)
        given: dict[str, Any] = dict(choice.parameters)  # Any: the types are checked inside
        noise = Noise(**{name: given.pop(name) for name in NOISE if name in given}, steps=steps)
        if network is not None:
            groups = _split(groups, noisy_parameters(network, noise))
            if noise.first_fraction != 0 and all(group.get("sigma") == 0.0 for group in groups):
                raise ConfigError("none of the layers that shall get noise is trained")
        return maker(groups, noise=noise, **given)
    except (TypeError, ValueError) as err:
        raise ConfigError(f"optimizer {choice.name!r}: {err}") from err


def _split(groups: list[Group], noisy: set[int]) -> list[Group]:
    """Split each group in the parameters that get noise and those that do not."""
    split = []
    for group in groups:
        loud = [p for p in group["params"] if id(p) in noisy]
        quiet = [p for p in group["params"] if id(p) not in noisy]
        split += [{**group, "params": loud}] if loud else []
        split += [{**group, "params": quiet, "sigma": 0.0}] if quiet else []
    return split
