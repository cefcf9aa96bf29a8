"""Which bundles a caller may name: the shipped ones, and those the caller made by adapting.

data_dir/models/OWNER/NAME/   one folder for each owner, so that no caller meets another's names
"""

import re
from pathlib import Path

from api.folders import ServiceFolders
from api.problems import ServiceError
from damagenet.bundle import CARD_FILE, find_bundle, shipped_bundles
from damagenet.options import AUTO

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Form of an adapted bundle's name; it is the name of its folder."""


def check_name(name: str) -> None:
    """Refuse a name that no adapted bundle may have.

    Raises:
        ServiceError: 422 if it is no plain name, or one that stands for a shipped bundle.
    """
    if not NAME.fullmatch(name):
        raise ServiceError(
            422,
            f"{name!r} cannot be the name of a model: take 1 to 64 letters, digits, - and _, "
            "beginning with a letter or digit",
        )
    if name in (AUTO, *shipped_bundles()):
        raise ServiceError(422, f"{name} is the name of a shipped model: take another one")


def own_models(owner: str, folders: ServiceFolders) -> list[str]:
    """Return the names of the bundles that a caller made, in alphabetical order."""
    return _names(folders.models / owner)


def find_model(name: str, owner: str, folders: ServiceFolders) -> Path:
    """Return the folder of a bundle that a caller may use; as `model_folder`."""
    return model_folder(name, folders.models / owner)


def model_folder(name: str, own: Path) -> Path:
    """Return the folder of a bundle, shipped or the caller's own.

    Args:
        name: Its name; `auto` is resolved before, as it depends on `pre`.
        own: Folder of the caller's bundles.

    Raises:
        ServiceError: 422 if the caller has no such model.
        BundleError: If its files are not whole.
    """
    if name in shipped_bundles():
        return find_bundle(name)
    names = _names(own)
    if name not in names:
        known = ", ".join([*shipped_bundles(), *names])
        raise ServiceError(422, f"there is no model {name[:80]!r}: choose one of {known}")
    return find_bundle(own / name)


def _names(own: Path) -> list[str]:
    found = [path.parent.name for path in own.glob(f"*/{CARD_FILE}")]
    return sorted(name for name in found if NAME.fullmatch(name))
