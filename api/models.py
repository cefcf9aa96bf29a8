"""Which bundles a caller may name: the shipped ones, and those the caller made by adapting.

data_dir/models/OWNER/NAME/   one folder for each owner, so that no caller meets another's names
"""

import re
from pathlib import Path

from api.bundles import model_folder, model_names
from api.folders import ServiceFolders
from api.problems import ServiceError
from damagenet.bundle import shipped_bundles
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
    return [name for name in model_names(folders.models_of(owner)) if name not in shipped_bundles()]


def find_model(name: str, owner: str, folders: ServiceFolders) -> Path:
    """Return the folder of a bundle that a caller may use, shipped or its own.

    Args:
        name: Its name; `auto` is resolved before, as it depends on `pre`.
        owner: The caller.
        folders: Of the service.

    Raises:
        ServiceError: 422 if the caller has no such model.
        BundleError: If its files are not whole.
    """
    return model_folder(name, folders.models_of(owner))
