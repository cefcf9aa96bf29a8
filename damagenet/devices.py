"""Where a network runs."""

import torch

from damagenet.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """Return the device of a name: `auto`, `cpu`, `cuda` or `cuda:N`.

    `auto` takes the first GPU where there is one, else the CPU.

    Raises:
        DeviceError: If the name is unknown or the machine lacks that GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        _require_gpu(name, device.index or 0)
    return device


def _require_gpu(name: str, number: int) -> None:
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= found:
        there = "no CUDA GPU" if not found else f"{found} (cuda:0 to cuda:{found - 1})"
        raise DeviceError(
            f"device {name} was asked for, this machine has {there}: use --device cpu"
        )
