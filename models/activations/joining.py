"""How channels are joined: which belong together, how many must enter, which come out.

Groups are of adjacent channels, (0, 1), (2, 3) ... as in Lowe et al., arXiv:2110.11940; halves are
the first channels against the last, as in torch's GLU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from damagenet.errors import ConfigError

Operator = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""Takes the k tensors of a group and returns one of their shape."""
DUPLICATE, PARTITION = "duplicate", "partition"
Values = Mapping[str, float | int | str]


def groups(features: torch.Tensor, k: int, dim: int) -> tuple[torch.Tensor, ...]:
    """Return k tensors: the first, the second ... member of every group of k adjacent channels.

    Raises:
        ConfigError: If k does not divide the channels.
    """
    axis = dim % features.ndim
    channels = features.shape[axis]
    check_entering(channels, k)
    sizes = features.shape
    grouped = features.reshape(*sizes[:axis], channels // k, k, *sizes[axis + 1 :])
    return grouped.unbind(axis + 1)


def halves(features: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and the second half of the channels.

    Raises:
        ConfigError: If their number is odd.
    """
    channels = features.shape[dim]
    check_entering(channels, 2)
    half = channels // 2
    return features.narrow(dim, 0, half), features.narrow(dim, half, half)


@dataclass(frozen=True, slots=True)
class Join:
    """Joins every group of channels by one operator or by several.

    A value and no closure, so that the copies of a layer are equal and share a compiled kernel.
    """

    operators: tuple[tuple[str, Operator], ...]
    """With the name that ends the names of its moments; one that stands alone has none."""

    def __call__(
        self, features: torch.Tensor, *, dim: int, k: int, how: str = DUPLICATE, **moments: float
    ) -> torch.Tensor:
        """Return the results, operator after operator.

        Args:
            features: Channels along `dim`.
            dim: Axis of the channels.
            k: Channels in a group.
            how: `duplicate`: every operator sees every group; `partition`: the groups are cut into
                as many blocks as there are operators, and each sees its own.
            moments: `mu` and `sd`, or `mu_or`, `sd_or` ..., which normalise the results; or none.

        Raises:
            ConfigError: If the channels do not divide.
        """
        if how == PARTITION:
            check_entering(features.shape[dim], k * len(self.operators))
        return self.of_parts(groups(features, k, dim), dim, how, moments)

    def of_parts(
        self, parts: Sequence[torch.Tensor], dim: int, how: str, moments: Mapping[str, float]
    ) -> torch.Tensor:
        """As the call, of features that are already taken apart into k tensors."""
        count = len(self.operators)
        results = []
        for number, (name, operator) in enumerate(self.operators):
            mine = [part.chunk(count, dim)[number] for part in parts] if how == PARTITION else parts
            results.append(_normal(operator(mine), name, moments))
        return torch.cat(results, dim) if count > 1 else results[0]


def moment_names(operator: str) -> tuple[str, str]:
    """Return the parameters that normalise an operator; one that stands alone has no name."""
    ending = f"_{operator}" if operator else ""
    return f"mu{ending}", f"sd{ending}"


def _normal(result: torch.Tensor, operator: str, moments: Mapping[str, float]) -> torch.Tensor:
    if not moments:
        return result
    mean, deviation = (moments[name] for name in moment_names(operator))
    return (result - mean) / deviation


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
    """Raise ConfigError unless so many channels can come out."""
    if channels % multiple:
        raise ConfigError(
            f"{why} gives channels in multiples of {multiple}, and the architecture wants "
            f"{channels}: {_fitting(channels, multiple)} would fit"
        )


def check_entering(channels: int, multiple: int) -> None:
    """Raise ConfigError unless so many channels can enter."""
    if channels % multiple:
        raise ConfigError(
            f"{channels} channels enter an activation that takes multiples of {multiple}: "
            f"{_fitting(channels, multiple)} would fit"
        )


def _fitting(channels: int, multiple: int) -> str:
    low = channels // multiple * multiple
    return f"{low} or {low + multiple}" if low else f"{multiple}"
