"""The models of a caller: those it may name, and names that it may give to new ones."""

import re
from pathlib import Path

from api.bundles import model_folder, names_in
from api.folders import ServiceFolders
from api.problems import ServiceError
from damagenet.bundle import shipped_bundles
from damagenet.options import AUTO

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Form of an adapted bundle's name; it is the name of its folder."""


def check_name(name: str, own: Path) -> None:
    """Refuse a name that no adapted bundle may have.

    Args:
        name: Of the bundle to be.
        own: Folder of the caller's bundles, beside those that are for everybody.

    Raises:
        ServiceError: 422 if it is no plain name, or stands for a bundle that everybody has; 409
            if the caller has a bundle of this name.
    """
    if not NAME.fullmatch(name):
        raise ServiceError(
            422,
            f"{name[:80]!r} cannot be the name of a model: take 1 to 64 letters, digits, - and _, "
            "beginning with a letter or digit",
        )
    if name in (AUTO, *shipped_bundles(), *names_in(own.parent)):
        raise ServiceError(422, f"{name} is the name of a model for everybody: take another one")
    if name in names_in(own):
        raise taken(name)


def taken(name: str) -> ServiceError:
    """Return the answer where the caller has a model of this name."""
    return ServiceError(409, f"you have a model {name} already: choose another name")


def own_models(owner: str, folders: ServiceFolders) -> list[str]:
    """Return the names of the bundles that a caller made, in alphabetical order."""
    return names_in(folders.models_of(owner))


def find_model(name: str, owner: str, folders: ServiceFolders) -> Path:
    """Return the folder of a bundle that a caller may use.

    Args:
        name: Its name; `auto` is resolved before, as it depends on `pre`.
        owner: The caller.
        folders: Of the service.

    Raises:
        ServiceError: 422 if the caller has no such model.
        BundleError: If its files are not whole.
    """
    return model_folder(name, folders.models_of(owner))
