"""Files of published weights: found in torch's folder, or brought there, and checked."""

import hashlib
import logging
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import cast

import torch

from damagenet.errors import BundleError

log = logging.getLogger(__name__)

State = dict[str, torch.Tensor]

HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,})\.")
"""Publishers of weights put the first digits of the SHA-256 into the name of the file."""


def checkpoints_folder() -> Path:
    """Return the folder that torch keeps weights in; the variable TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(url: str, *, what: str, name: str | None = None) -> Path:
    """Return the file of published weights, downloaded unless it is there already.

    Args:
        url: Where it is published.
        what: What it is, for the message: `the ImageNet weights of resnet18`.
        name: Name on disk; by default the last part of the address.

    Raises:
        BundleError: If it can neither be found nor downloaded, or its hash is not the one in
            its name.
    """
    path = checkpoints_folder() / (name or url.rsplit("/", maxsplit=1)[-1])
    found = HASH_IN_NAME.search(path.name)
    if not path.is_file():
        _download(url, path, what=what, digits=found and found.group(1))
    elif found:
        require_hash(path, found.group(1), what=what)
    return path


def require_hash(path: Path, expected: str, *, what: str) -> None:
    """Check that a file is the one that was meant.

    Args:
        path: The file.
        expected: First hexadecimal digits of its SHA-256.
        what: What it should be, for the sentence.

    Raises:
        BundleError: If its SHA-256 starts with others.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise BundleError(
            f"{path} is not {what}: its SHA-256 starts with {digest[: len(expected)]}, not with "
            f"{expected}; delete the file and get it again"
        )


def read_state(path: Path, *, what: str) -> State:
    """Return the tensors of a checkpoint in their order; nothing else in it is read, never code.

    Raises:
        BundleError: If it holds anything but tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as err:
        reason = str(err).splitlines()[0]
        raise BundleError(f"{path} does not hold {what} ({reason}): get it again") from err
    return cast(State, state)


def _download(url: str, path: Path, *, what: str, digits: str | None) -> None:
    log.info("downloading %s from %s into %s", what, url, path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digits, progress=False)
        # torch writes files that only their owner can read.
        path.chmod(0o644)
    except (OSError, RuntimeError) as err:
        reason = getattr(err, "reason", None) or err
        raise BundleError(
            f"{what} are not on this machine and cannot be downloaded ({reason}): get {url} "
            f"elsewhere and put it there as {path} (the variable TORCH_HOME moves the folder)"
        ) from err
