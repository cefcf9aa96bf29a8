"""The environments of the contenders: one folder each, made once, with nothing of ours in it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

READY = "installed.txt"
INSTALL_S = 1800
OWN_TORCH = f"torch=={torch.__version__.partition('+')[0]}"
"""The contenders get the same torch as we have, so that the network itself costs the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Another way to judge the same scene by the same network.

    Attributes:
        name: What `--contenders` calls it.
        script: File in this folder.
        workers: Numbers of DataLoader workers to try.
        packages: What pip installs; none for what runs in our own environment.
    """

    name: str
    script: str
    workers: tuple[int, ...] = (0,)
    packages: tuple[str, ...] = ()


LOOP = Contender(name="plain loop", script="plain_loop.py")
"""Needs nothing besides rasterio, so it always takes part."""
CONTENDERS = {
    each.name: each
    for each in (
        Contender(
            name="torchgeo",
            script="torchgeo_chips.py",
            workers=(0, 2),
            packages=("torchgeo==0.8.1", "requests", OWN_TORCH),
        ),
        Contender(
            name="rastervision",
            script="rastervision_chips.py",
            workers=(0, 2),
            packages=(
                "rastervision_core==0.31.1",
                "rastervision_pytorch_learner==0.31.1",
                OWN_TORCH,
            ),
        ),
    )
}


class EnvironmentFailedError(Exception):
    """An environment could not be made; says what pip said last."""


def python_of(contender: Contender, folder: Path) -> Path:
    """Return the interpreter of a contender, its environment being made where it is missing.

    Args:
        contender: Whose.
        folder: Of all environments.

    Raises:
        EnvironmentFailedError: If its packages cannot be installed.
    """
    if not contender.packages:
        return Path(sys.executable)
    home = folder / contender.name
    python = home / "bin" / "python"
    wanted = "\n".join(contender.packages)
    if (home / READY).exists() and (home / READY).read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {', '.join(contender.packages)} into {home}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", str(home)])
    _run([str(python), "-m", "pip", "install", "--quiet", *contender.packages])
    (home / READY).write_text(wanted, encoding="utf-8")
    return python


def without_ours() -> dict[str, str]:
    """Return the environment variables without the path to our own packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_S,
            env=without_ours(),
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EnvironmentFailedError(f"{command[0]}: {err}") from err
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise EnvironmentFailedError(lines[-1])
