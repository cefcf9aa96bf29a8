"""An assessment of files that are here already: the same inputs, another model or other options."""

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from api.folders import JobFolder, Role

ROLES: tuple[Role, ...] = get_args(Role)


def copy_inputs(
    job: JobFolder,
    new_job: JobFolder,
    *,
    roles: Collection[Role] = ROLES,
    images: Collection[str] | None = None,
) -> None:
    """Give a new job the files of another one; they are linked, so that they take no more room.

    Each job can be deleted without the other.

    Args:
        job: Whose files.
        new_job: Gets them under the same names.
        roles: Which of them.
        images: Names of the scenes, where not all are wanted.
    """
    for role in roles:
        for path in job.files(role):
            if role == "image" and images is not None and path.name not in images:
                continue
            target = new_job.inputs(role) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, copy_function=_link)
            else:
                _link(path, target)


def copy_labels(job: JobFolder, new_job: JobFolder) -> None:
    """Give a new job the labels of another one, as they are now, if it has any."""
    if job.labels.exists():
        new_job.labels.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(job.labels, new_job.labels)


def changed_options(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return options with some of them changed, as the fields of a form.

    Args:
        before: Options of the assessment before.
        given: What is to be other; None takes an option back to its default.
    """
    options = {name: value for name, value in {**before, **given}.items() if value is not None}
    return {name: [_text(value)] for name, value in options.items()}


def same_units(before: Mapping[str, Any], after: Mapping[str, Any], *, cells: bool) -> bool:
    """Return whether two assessments of the same files name their units alike, by their options.

    Args:
        before: Options of the one.
        after: Options of the other.
        cells: Whether units are cells; those are the same only if the models' chips are, too.
    """
    names = ("stride", "pixel_size") if cells else ("id_field",)
    return all(before.get(name) == after.get(name) for name in names)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _link(source: str | Path, target: str | Path) -> object:
    try:
        os.link(source, target)
    except OSError:
        # A file system without links: the file is there twice.
        shutil.copy2(source, target)
    return target
