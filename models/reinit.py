"""Starting layers of a trained network anew: which ones, and what becomes of those that stay.

Alabdulmohsin et al., "The impact of reinitialization on generalization in convolutional neural
networks", arXiv:2109.00267.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from damagenet.errors import ConfigError, EvaluationError
from damagenet.recipe import Choice, check_choice
from models.classifier import Classifier
from models.stages import Stage, stages

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layerwise:
    """Rounds of training; each keeps more blocks from the image on, and starts the rest anew.

    Attributes:
        rounds: Number of trainings.
        blocks: `auto` for the network's stages, or the names of the stages that begin a block,
            with commas between.
        rescale: Whether kept tensors get the length that they were first started with.
        normalise: Whether what enters the first restarted block is standardised for good.
    """

    rounds: int = 4
    blocks: str = AUTO
    rescale: bool = True
    normalise: bool = True

    def __post_init__(self) -> None:
        """Raise ConfigError if a value is out of range."""
        _require_count("rounds", self.rounds)
        for name, value in (("rescale", self.rescale), ("normalise", self.normalise)):
            if not isinstance(value, bool):
                raise ConfigError(f"{name} must be true or false, got {value!r}")

    def kept(self, number: int, count: int) -> int:
        """Return how many of `count` blocks stay in round `number` (from 0)."""
        return number * count // self.rounds

    def standardised(self, parts: Sequence[Sequence[Stage]], number: int) -> list[str]:
        """Return the stages before which standardisation stands in a round, from the image."""
        if not self.normalise:
            return []
        edges = sorted({self.kept(done, len(parts)) for done in range(number + 1)} - {0})
        return [parts[edge][0].name for edge in edges]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOnly:
    """The head starts anew every so many epochs of one training."""

    every: int = 5

    def __post_init__(self) -> None:
        """Raise ConfigError if the value is out of range."""
        _require_count("every", self.every)


Reinit = Layerwise | HeadOnly
REINITS: dict[str, Callable[..., Reinit | None]] = {
    "head": HeadOnly,
    "layerwise": Layerwise,
    "none": lambda: None,
}


def find_reinit(choice: Choice) -> Reinit | None:
    """Return what starts anew; None for nothing.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value out of range.
    """
    check_choice("reinit", choice, REINITS)
    return REINITS[choice.name](**choice.parameters)


def blocks(network: Classifier, words: str) -> list[list[Stage]]:
    """Return the blocks of a network in order; together they are all stages.

    Args:
        network: Its head belongs to no block, as it always starts anew.
        words: As `Layerwise.blocks`.

    Raises:
        ConfigError: If a name is that of no stage, or the names do not start with the first
            stage or are not in order.
    """
    found = stages(network)
    names = [stage.name.removeprefix("backbone.") for stage in found]
    if words == AUTO:
        return [[stage] for stage in found]
    begins = [word.strip() for word in str(words).split(",")]
    unknown = [word for word in begins if word not in names]
    if unknown:
        raise ConfigError(
            f"blocks names {unknown[0]!r}, the network has the stages {', '.join(names)}"
        )
    places = [names.index(word) for word in begins]
    if places[0] != 0 or places != sorted(set(places)):
        raise ConfigError(
            f"blocks must name stages in order, from {names[0]} on, so that they are the whole "
            f"network; got {words!r} of {', '.join(names)}"
        )
    return [found[a:b] for a, b in zip(places, [*places[1:], len(found)], strict=True)]


def state_names(network: nn.Module, kept: Iterable[Stage]) -> list[str]:
    """Return the names in the network's state of all that belongs to some stages."""
    ids = {id(parameter) for stage in kept for parameter in stage.parameters()}
    for stage in kept:
        ids |= {id(buffer) for module in stage.modules for buffer in module.buffers()}
    state = network.state_dict(keep_vars=True)
    return [name for name, value in state.items() if id(value) in ids]


def rescale(network: nn.Module, start: nn.Module, names: Sequence[str]) -> None:
    """Give parameters the length (L2 norm) that they have in `start`; their direction stays.

    Args:
        network: Trained; changed in place.
        start: The same network before its training.
        names: Which parameters; other names are passed over.

    Raises:
        EvaluationError: If a parameter has become zero and was not so at the start.
    """
    first = dict(start.named_parameters())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name not in names:
                continue
            wanted, length = (value.double().norm().item() for value in (first[name], parameter))
            if wanted == 0:
                parameter.zero_()
            elif length == 0:
                raise EvaluationError(
                    f"{name} has become zero, so that it cannot be rescaled to the length it "
                    "started with: set training.reinit.rescale to false"
                )
            else:
                parameter.mul_(wanted / length)


def _require_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of 1 or above, got {value!r}")
