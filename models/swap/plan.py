"""What a swap will change, worked out before anything is changed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from models.swap.known import Known, wanted
from models.swap.recording import Call, Recording, record
from models.swap.rewriting import rewritten_class
from models.swap.sites import Where, first_of_each, select
from models.swap.slots import Slot, slots

Example = torch.Tensor | Sequence[torch.Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """The attributes that take activations, and the classes that call them."""

    steps: list[tuple[Call, Slot]]
    """Every activation that is to be replaced and where its successor will stand."""
    classes: dict[nn.Module, type[nn.Module]]
    """The new class of each module whose forward must be rewritten."""


def plan_swap(
    network: nn.Module, example: Example, where: Where, kinds: Collection[str] | None
) -> Plan:
    """Find the activations of a network and how to replace them; see `swap_activations`."""
    is_wanted = wanted(kinds)
    seen = {
        training: record(network, example, training=training, wanted=is_wanted)
        for training in (True, False)
    }
    calls = first_of_each([*seen[False].calls, *seen[True].calls])
    chosen = select(seen[False], where, network=type(network).__name__)
    found = slots(network, calls)
    # Only "all" takes what runs in training alone.
    steps = [(call, found[call.place]) for call in (calls if where == "all" else chosen)]
    return Plan(steps, _classes(steps, seen, is_wanted))


def _classes(
    steps: Sequence[tuple[Call, Slot]],
    seen: dict[bool, Recording],
    is_wanted: Callable[[Known], bool],
) -> dict[nn.Module, type[nn.Module]]:
    chosen: dict[nn.Module, list[tuple[Call, Slot]]] = {}
    for call, slot in steps:
        if slot.rewritten:
            chosen.setdefault(call.place.owner, []).append((call, slot))
    return {
        owner: rewritten_class(
            owner,
            {call.place: slot.name for call, slot in own},
            recorded={
                training: {call.place for call in each.calls if call.place.owner is owner}
                for training, each in seen.items()
            },
            given=set().union(*(each.given.get(owner, ()) for each in seen.values())),
            wanted=is_wanted,
            path=own[0][1].path.rpartition(".")[0] or type(owner).__name__,
        )
        for owner, own in chosen.items()
    }
