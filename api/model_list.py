"""All bundles of a caller with their cards, the broken ones too, and how one is deleted."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from api.bundles import NAME
from api.folders import ServiceFolders
from damagenet.bundle import BUNDLE_FILES, model_id, read_card, shipped_bundles, weights_folder
from damagenet.card import Card
from damagenet.errors import BundleError

Origin = Literal["shipped", "added", "adapted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """One bundle, whether it can be used or not."""

    name: str
    origin: Origin
    card: Card | None
    """None for a broken one."""
    problem: str = ""
    """Why it cannot be used; names no folder."""

    @property
    def id(self) -> str:
        """Name and short hash; empty for a broken one."""
        return model_id(self.card) if self.card else ""


def find_models(folders: ServiceFolders, owner: str) -> list[FoundModel]:
    """Return the models of a caller, shipped ones first; a name counts once, the first time.

    A bundle that cannot be read is listed with the reason, so that it spoils no other.

    Args:
        folders: Of the service.
        owner: Id of the caller's key, or `local`.
    """
    places: tuple[tuple[Origin, Path], ...] = (
        ("shipped", weights_folder()),
        ("added", folders.models),
        ("adapted", folders.models / owner),
    )
    found: dict[str, FoundModel] = {}
    for origin, place in places:
        for folder in _bundles(place):
            found.setdefault(folder.name, _read(folder, origin))
    return list(found.values())


def delete_adapted(folders: ServiceFolders, owner: str, name: str) -> None:
    """Delete a bundle that its caller made; it is gone whole, even if this is interrupted.

    Args:
        folders: Of the service.
        owner: Whose bundle.
        name: One of `find_models` whose origin is `adapted`.
    """
    leaving = folders.models_of(owner) / f".{name}.{uuid4().hex}"
    # A name that begins with a dot is none of `NAME`, so nobody finds the rest of it.
    (folders.models_of(owner) / name).rename(leaving)
    shutil.rmtree(leaving, ignore_errors=True)


def _bundles(place: Path) -> Iterator[Path]:
    """Yield the folders that hold a bundle or a part of one, by name."""
    folders = sorted(place.iterdir()) if place.is_dir() else []
    for folder in folders:
        holds_any = any((folder / name).is_file() for name in BUNDLE_FILES)
        if NAME.fullmatch(folder.name) and holds_any:
            yield folder


def _read(folder: Path, origin: Origin) -> FoundModel:
    shipped = origin == "shipped" and folder.name in shipped_bundles()
    try:
        card = read_card(folder.name if shipped else folder)
    except BundleError as err:
        problem = str(err).replace(f"{folder}/", "").replace(str(folder), folder.name)
        return FoundModel(name=folder.name, origin=origin, card=None, problem=problem)
    return FoundModel(name=folder.name, origin=origin, card=card)
