"""How channels are joined: which belong together, how many must enter, which come out.

Groups are of adjacent channels, (0, 1), (2, 3) ... as in Lowe et al., arXiv:2110.11940; halves are
the first channels against the last, as in torch's GLU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from damagenet.errors import ConfigError
from models.activations.function import HALF

Operator = Callable[..., torch.Tensor]
"""Takes the k tensors of a group, and numbers by name, and returns a tensor of their shape."""
DUPLICATE, PARTITION = "duplicate", "partition"
Number = torch.Tensor | float
Values = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Join:
    """Joins every group of channels by one operator or by several.

    A value and no closure, so that the copies of a layer are equal and share a compiled kernel.
    """

    operators: tuple[tuple[str, Operator], ...]
    """With the name that ends the names of its moments; one that stands alone has none."""
    adjacent: bool = True
    """Whether the members of a group lie side by side; else they lie C / k channels apart."""
    normalised: bool = False
    """Whether results are normalised by moments; else all numbers are for the operators."""
    widens: ClassVar[bool] = True
    """Half precision is computed in float32 here, so that each result is narrowed before it is
    joined to the others: that is one pass less."""

    def __call__(
        self, features: torch.Tensor, *, dim: int, k: int = 2, how: str = DUPLICATE, **given: Number
    ) -> torch.Tensor:
        """Return the results, operator after operator.

        Args:
            features: Channels along `dim`.
            dim: Axis of the channels.
            k: Channels in a group.
            how: `duplicate`: every operator sees every group; `partition`: the groups are cut into
                as many blocks as there are operators, and each sees its own.
            given: Moments `mu` and `sd`, or `mu_or`, `sd_or` ..., or the operator's own numbers.

        Raises:
            ConfigError: If the channels do not divide.
        """
        self.check(features.shape[dim], k, how)
        parts = self.grouped(features, dim, k).unbind(self.member_axis(features.ndim, dim))
        return self.of_parts(parts, dim, how, given)

    def of_parts(
        self, parts: Sequence[torch.Tensor], dim: int, how: str, given: Mapping[str, Number]
    ) -> torch.Tensor:
        """As the call, of features that are already taken apart into k tensors."""
        count, kind = len(self.operators), parts[0].dtype
        wide = [part.float() if kind in HALF else part for part in parts]
        results = []
        for number, (name, operator) in enumerate(self.operators):
            mine = [part.chunk(count, dim)[number] for part in wide] if how == PARTITION else wide
            if self.normalised:
                mean, deviation = (given[moment] for moment in moment_names(name))
                result = (operator(mine) - mean) / deviation
            else:
                result = operator(mine, **given)
            results.append(result.to(kind))
        return torch.cat(results, dim) if count > 1 else results[0]

    def check(self, channels: int, k: int, how: str) -> None:
        """Check that so many channels can enter.

        Args:
            channels: Their number.
            k: Channels that are joined into one.
            how: One of the ways to give operators their channels.

        Raises:
            ConfigError: If they are no multiple of what is joined.
        """
        multiple = k * len(self.operators) if how == PARTITION else k
        if channels % multiple:
            raise ConfigError(
                f"{channels} channels enter an activation that takes multiples of {multiple}: "
                f"{_fitting(channels, multiple)} would fit"
            )

    def grouped(self, features: torch.Tensor, dim: int, k: int) -> torch.Tensor:
        """Return a view in which the channels have two axes: groups, and the k members of each."""
        axis, sizes = dim % features.ndim, features.shape
        before, after, count = sizes[:axis], sizes[axis + 1 :], sizes[axis] // k
        split = (count, k) if self.adjacent else (k, count)
        return features.reshape(*before, *split, *after)

    def member_axis(self, axes: int, dim: int) -> int:
        """Return the axis of a group's members in the view, for features of so many axes."""
        return dim % axes + (1 if self.adjacent else 0)


def moment_names(operator: str) -> tuple[str, str]:
    """Return the parameters that normalise an operator; one that stands alone has no name."""
    ending = f"_{operator}" if operator else ""
    return f"mu{ending}", f"sd{ending}"


def joined_width(operators: int) -> Callable[[int, Values], int]:
    """Return the rule of how many channels must enter, for a number of operators."""

    def width(channels: int, values: Values) -> int:
        how, k = values.get("how", DUPLICATE), int(values["k"])
        check_leaving(channels, operators, f"how: {how} of {operators} operators")
        return channels * k if how == PARTITION else channels * k // operators

    return width


def twice(channels: int, values: Values) -> int:
    """Return how many channels must enter a function that halves them."""
    del values
    return 2 * channels


def half(channels: int, values: Values) -> int:
    """Return how many channels must enter a function that doubles them.

    Raises:
        ConfigError: If an odd number shall come out.
    """
    del values
    check_leaving(channels, 2, "a function that doubles the channels")
    return channels // 2


def check_leaving(channels: int, multiple: int, why: str) -> None:
    """Check that so many channels can come out.

    Args:
        channels: What the architecture wants.
        multiple: What the activation gives multiples of.
        why: What gives them, for the sentence.

    Raises:
        ConfigError: If they are no multiple.
    """
    if channels % multiple:
        raise ConfigError(
            f"{why} gives channels in multiples of {multiple}, and the architecture wants "
            f"{channels}: {_fitting(channels, multiple)} would fit"
        )


def _fitting(channels: int, multiple: int) -> str:
    low = channels // multiple * multiple
    return f"{low} or {low + multiple}" if low else f"{multiple}"
