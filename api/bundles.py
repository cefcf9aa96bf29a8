"""Which models a caller may ask for: the shipped ones, and those made by adapting them here."""

import re
from pathlib import Path

from api.problems import ServiceError
from damagenet.bundle import CARD_FILE, find_bundle, shipped_bundles

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of models; nothing else may become a part of a path."""


def model_names(models: Path) -> list[str]:
    """Return the names that may be asked for: shipped ones first, each group by name.

    Args:
        models: Folder of adapted models.
    """
    shipped = shipped_bundles()
    adapted = {path.parent.name for path in models.glob(f"*/{CARD_FILE}")} - set(shipped)
    return [*shipped, *sorted(name for name in adapted if NAME.fullmatch(name))]


def model_folder(name: str, models: Path) -> Path:
    """Return the folder of a model by its name.

    Raises:
        ServiceError: If there is none of that name: a path is no name.
        BundleError: If its files are not whole.
    """
    known = model_names(models)
    if name not in known:
        raise ServiceError(
            422, f"model: there is no model {name[:80]!r} here; choose one of: {', '.join(known)}"
        )
    return find_bundle(name if name in shipped_bundles() else models / name)
