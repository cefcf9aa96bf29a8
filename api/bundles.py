"""Which models a caller may ask for, and where each of them lies.

shipped with damagenet
data_dir/models/NAME          put there by whoever runs the service, for everybody
data_dir/models/OWNER/NAME    made by one caller by adapting, for that caller
"""

import re
from pathlib import Path

from api.problems import ServiceError
from damagenet.bundle import CARD_FILE, find_bundle, shipped_bundles
from damagenet.errors import BundleError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of models; nothing else may become a part of a path."""


def model_names(own: Path) -> list[str]:
    """Return the names that may be asked for: shipped ones, those of the service, own ones.

    Args:
        own: Folder of the models that the caller adapted.
    """
    places = (names_in(own.parent), names_in(own))
    return list(dict.fromkeys([*shipped_bundles(), *places[0], *places[1]]))


def names_in(place: Path) -> list[str]:
    """Return the names of the bundles in a folder, in alphabetical order."""
    found = [path.parent.name for path in place.glob(f"*/{CARD_FILE}")]
    return sorted(name for name in found if NAME.fullmatch(name))


def model_folder(name: str, own: Path) -> Path:
    """Return the folder of a model by its name.

    Args:
        name: Of several places that hold it, the first of `model_names` counts.
        own: Folder of the models that the caller adapted.

    Raises:
        ServiceError: If there is none of that name: a path is no name.
        BundleError: If its files are not whole.
    """
    places = {name: place for place in (own, own.parent) for name in names_in(place)}
    if name not in shipped_bundles() and name not in places:
        known = ", ".join(model_names(own))
        raise ServiceError(
            422, f"model: there is no model {name[:80]!r} here; choose one of: {known}"
        )
    try:
        return find_bundle(name if name in shipped_bundles() else places[name] / name)
    except BundleError as err:
        raise BundleError(without_folders(str(err), own)) from None


def without_folders(sentence: str, own: Path) -> str:
    """Return a sentence about bundles with their names in place of their paths."""
    return sentence.replace(f"{own}/", "").replace(f"{own.parent}/", "")
