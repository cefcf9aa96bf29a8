"""Where sent files go in a job's folder, whichever way they came."""

import shutil
from pathlib import Path
from typing import get_args

from api.folders import JobFolder, Role
from api.names import clean_name
from api.problems import ServiceError


def new_input(folder: JobFolder, role: str, sent: str) -> Path:
    """Return where a sent file goes; its folder is made.

    Raises:
        ServiceError: If the role is unknown, the name cannot be used or was used before, or the
            role takes one file and has it.
    """
    place = folder.inputs(as_role(role))
    path = place / clean_name(sent)
    taken = [other.name for other in folder.files(as_role(role))]
    if role in ("buildings", "exclude") and taken:
        raise ServiceError(422, f"{role} is one file, and {taken[0]!r} was sent: send one of them")
    if path.name.casefold() in {name.casefold() for name in taken}:
        raise ServiceError(422, f"two files are called {path.name!r}: rename one of them")
    place.mkdir(parents=True, exist_ok=True)
    return path


def link_input(folder: JobFolder, role: Role, source: Path, name: str) -> Path:
    """Put a file that was sent in parts among a job's inputs as well; errors as `new_input`."""
    path = new_input(folder, role, name)
    try:
        path.hardlink_to(source)
    except OSError:
        _copy(source, path, name)
    return path


def _copy(source: Path, path: Path, name: str) -> None:
    """Copy where the file system has no links: the file is there twice until its upload goes."""
    try:
        shutil.copyfile(source, path)
    except FileNotFoundError:
        raise ServiceError(
            409, f"what was sent as {name!r} in parts is gone: send the file again"
        ) from None


def as_role(name: str) -> Role:
    """Return a role by its name; raise ServiceError 422 if there is none."""
    for role in get_args(Role):
        if role == name:
            return role  # type: ignore[no-any-return]  # one of Role's own values
    choices = ", ".join(get_args(Role))
    raise ServiceError(422, f"there is no file {name[:80]!r} in the form; choose one of: {choices}")
