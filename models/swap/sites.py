"""The places of a network that an activation can stand at, and which of them are asked for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from damagenet.errors import ConfigError
from models.swap.recording import Call, Kind, Recording

Where = Literal["all", "last_stage", "head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One activation of a network, as it is before the swap."""

    path: str
    """Dotted path that the new activation gets; where a module has one, it is the old path."""
    kind: Kind
    """Whether the network calls a module, a function (`F.relu`) or a method (`x.relu()`)."""
    function: str
    channels: int
    dim: int
    """Axis of the channels: 1, or -1 behind a linear layer."""
    shape: tuple[int, ...]
    """Of one image's features there."""
    ceiling: float | None
    """The value above which the function clips; None where it does not."""


def select(seen: Recording, where: Where, *, network: str) -> list[Call]:
    """Return the calls that are asked for, of those that run in evaluation, in order.

    The head is what comes behind the last pooling and sees one position per image. The last stage
    is what comes before it and behind the last activation that sees more positions than the
    body's last one does; where that is the whole body, as in a plain transformer, it is the last
    quarter of the body.

    Args:
        seen: A pass in evaluation.
        where: Which part.
        network: Its name, for messages.

    Raises:
        ConfigError: If `where` is unknown or the network has no activation there.
    """
    if where not in get_args(Where):
        raise ConfigError(f"where must be one of {', '.join(get_args(Where))}, got {where!r}")
    calls = first_of_each(seen.calls)
    pooled = next(at for at in range(len(calls) + 1) if all(map(seen.in_head, calls[at:])))
    parts = {"all": calls, "last_stage": _last_stage(calls[:pooled]), "head": calls[pooled:]}
    if not parts[where]:
        counts = ", ".join(f"{len(part)} in {name!r}" for name, part in parts.items())
        raise ConfigError(f"{network} has no activation to swap in {where!r}, but {counts}")
    return parts[where]


def first_of_each(calls: Sequence[Call]) -> list[Call]:
    """Return the first call of every place: a block may run more than once."""
    first = {call.place: call for call in reversed(calls)}
    return [call for call in calls if first[call.place] is call]


def _last_stage(body: list[Call]) -> list[Call]:
    finer = [at for at, call in enumerate(body) if call.positions > body[-1].positions]
    return body[finer[-1] + 1 :] if finer else body[len(body) - math.ceil(len(body) / 4) :]
