"""Where in the tree of modules each activation will stand, under which name."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from models.swap.recording import Call, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An attribute of a module that takes a new activation."""

    holder: nn.Module
    name: str
    path: str
    """Its dotted path from the network."""
    rewritten: bool
    """Whether the owner's forward must be written anew to call it."""


def slots(network: nn.Module, calls: Sequence[Call]) -> dict[Place, Slot]:
    """Return the slot of every call.

    A module that its owner holds under one name and calls once per run is replaced where it
    stands. Where an owner calls a function, or one module more than once, its forward must be
    rewritten: every call then gets an attribute of its own, `relu`, `relu_2`, ...

    Args:
        network: The network.
        calls: All that may be swapped, so that names do not depend on what is chosen of them.
    """
    paths = {module: path for path, module in reversed([*network.named_modules()])}
    owners: dict[nn.Module, list[Place]] = defaultdict(list)
    callers: dict[nn.Module | str, set[nn.Module]] = defaultdict(set)
    for place in (call.place for call in calls):
        owners[place.owner].append(place)
        callers[place.target].add(place.owner)
    found: dict[Place, Slot] = {}
    for owner, places in owners.items():
        names = _names_in_place(owner, places, callers)
        rewritten = names is None
        for place, name in (names or _fresh_names(owner, places)).items():
            holder, _, attribute = name.rpartition(".")
            found[place] = Slot(
                holder=owner.get_submodule(holder),
                name=attribute,
                path=f"{paths[owner]}.{name}".lstrip("."),
                rewritten=rewritten,
            )
    return found


def _names_in_place(
    owner: nn.Module, places: Iterable[Place], callers: dict[nn.Module | str, set[nn.Module]]
) -> dict[Place, str] | None:
    """Return where the called modules stand, from the owner; None if that does not tell calls."""
    in_turn = type(owner).forward is nn.Sequential.forward
    found: dict[Place, str] = {}
    for place in places:
        names = _names(owner, place.target)
        if in_turn:
            names = names[place.occurrence : place.occurrence + 1]
        alone = len(names) == 1 and (in_turn or place.occurrence == 0)
        if not alone or ("." in names[0] and len(callers[place.target]) > 1):
            return None
        found[place] = names[0]
    # A second call of the same module has found the same name.
    return found if len(set(found.values())) == len(found) else None


def _fresh_names(owner: nn.Module, places: Iterable[Place]) -> dict[Place, str]:
    taken = set(dir(owner))
    found: dict[Place, str] = {}
    for place in places:
        own = _names(owner, place.target)[:1]
        base = own[0].rpartition(".")[2] if own else str(place.target)
        keeps_its_own = bool(own) and "." not in own[0] and place.occurrence == 0
        name, number = base, 1
        while name in taken and not (keeps_its_own and name == own[0]):
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        found[place] = name
    return found


def _names(owner: nn.Module, target: nn.Module | str) -> list[str]:
    """Return all dotted names under which an owner reaches a module."""
    return [name for name, each in owner.named_modules(remove_duplicate=False) if each is target]
