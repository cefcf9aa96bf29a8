"""Bundles that a caller may use: shipped ones, those of the service, those the caller made.

data_dir/models/NAME          put there by whoever runs the service, for everybody
data_dir/models/OWNER/NAME    made by one caller by adapting, for that caller
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from api.folders import ServiceFolders
from damagenet.bundle import BUNDLE_FILES, model_id, read_card, shipped_bundles, weights_folder
from damagenet.card import Card
from damagenet.errors import BundleError

Origin = Literal["shipped", "added", "adapted"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Form of a model's name; other folders are passed over, as a name becomes part of an address."""


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
