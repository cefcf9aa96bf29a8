"""Which method goes with which kind of architecture: one matrix, read when a recipe is checked."""

from collections.abc import Iterator, Mapping
from typing import Literal

from damagenet.config import setting
from damagenet.errors import ConfigError
from damagenet.recipe import Recipe
from models.architectures import Family, find_architecture

Method = Literal[
    "stochastic_depth",
    "autoinit",
    "langevin",
    "transfer",
    "layerwise_reinit",
    "guided_backprop",
    "margin",
]

NO_BLOCKS = (
    "it has no residual blocks that are known: choose compact_resnet, cifar_resnet, wide_resnet or "
    "one of torchvision's ResNets, as resnet18"
)
LENGTHS = "it has no capsules whose lengths the loss is taken of: choose mocapsnet, or another loss"
SPIKES_START = "its spikes are 0 or 1, so that no variance passes through: take xavier, gain 2"
FROM_NOTHING = "it is trained whole and from nothing: choose scratch"

REFUSED: Mapping[Method, Mapping[Family, str]] = {
    "stochastic_depth": {
        "plain": NO_BLOCKS,
        "spiking": "the state of a skipped block's neurons is not defined",
        "capsules": "a skipped layer could not be undone in the backward pass",
        "other": NO_BLOCKS,
    },
    "autoinit": {
        "spiking": SPIKES_START,
        "capsules": "routing is no layer whose variance is known",
    },
    "langevin": {},
    "transfer": {"spiking": FROM_NOTHING, "capsules": FROM_NOTHING},
    "layerwise_reinit": {"capsules": "its routing layers share one velocity, so no block is apart"},
    "guided_backprop": {
        "spiking": "a spike has no slope of its own",
        "capsules": "only its convolutions have rectifiers, the routing behind them has none",
    },
    "margin": {"residual": LENGTHS, "plain": LENGTHS, "spiking": LENGTHS, "other": LENGTHS},
}
"""Why a method does not go with a family; what is not named here goes."""

LARGEST_CAPSULE_SIGMA = 1e-3
"""Capsules bear little noise only; what the paper of the optimisers starts from by default."""


def refusal(method: Method, family: Family) -> str | None:
    """Return why a method does not go with a family of architectures; None where it does."""
    return REFUSED[method].get(family)


def check_compatible(recipe: Recipe) -> None:
    """Check that the methods of a recipe go with its architecture; allocates no network.

    Raises:
        ConfigError: If one of them does not, or there is no such architecture; the message names
            the setting, what stands there and why.
    """
    architecture = recipe.model.architecture
    with setting("model.architecture"):
        family = find_architecture(architecture).family
    for method, dotted, value in _methods(recipe):
        reason = refusal(method, family)
        if reason is not None:
            raise ConfigError(
                f"{dotted} is {value!r}, which does not go with {architecture.name!r}: {reason}"
            )
    sigma = recipe.training.optimizer.parameters.get("sigma", 0.0)
    # What is no number is refused with the optimiser's own parameters.
    too_loud = isinstance(sigma, int | float) and sigma > LARGEST_CAPSULE_SIGMA
    if family == "capsules" and too_loud:
        raise ConfigError(
            f"training.optimizer.sigma is {sigma:g}, which {architecture.name!r} does not bear: "
            f"choose at most {LARGEST_CAPSULE_SIGMA:g}"
        )


def _methods(recipe: Recipe) -> Iterator[tuple[Method, str, str]]:
    """Yield the methods that a recipe names, with the setting that does and its value."""
    model, training = recipe.model, recipe.training
    if model.regulariser.name == "stochastic_depth":
        yield "stochastic_depth", "model.regulariser", model.regulariser.name
    if model.init.name == "autoinit":
        yield "autoinit", "model.init", model.init.name
    if training.optimizer.name.startswith("l_"):
        yield "langevin", "training.optimizer", training.optimizer.name
    if training.transfer != "scratch":
        yield "transfer", "training.transfer", training.transfer
    if training.reinit.name == "layerwise":
        yield "layerwise_reinit", "training.reinit", training.reinit.name
    if training.loss.name == "margin":
        yield "margin", "training.loss", training.loss.name
