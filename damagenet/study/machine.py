"""The machine that a run was measured on, and how much memory the run took."""

import copy
import os
import platform
import sys
from pathlib import Path

import torch
from torch.autograd.graph import saved_tensors_hooks

from models.classifier import Classifier

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
CPU_FACTS = Path("/proc/cpuinfo")


def hardware_in_words() -> str:
    """Return processor or GPU in words, as in `AMD EPYC, 2 cores`."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{processor()}, {os.cpu_count()} cores"


def processor() -> str:
    """Return the processor in words, as in `AMD EPYC`."""
    if CPU_FACTS.exists():
        for line in CPU_FACTS.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def peak_mb() -> float | None:
    """Return the highest memory of this process so far, in 1e6 bytes; of the GPU where it has one.

    None where the system does not say.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def saved_mb(network: Classifier, images: torch.Tensor, *, precision: str) -> float:
    """Return what autograd keeps between forward and backward pass of one batch, in 1e6 bytes.

    Unlike the memory of the process it is the same on every machine. Tensors that share their
    storage count once; the network's own parameters do not count.

    Args:
        network: The network; a copy of it does the pass.
        images: One batch uint8 (N, 3, S, S).
        precision: As in `training.precision`.
    """
    network = copy.deepcopy(network).train()
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # alive to the end, so that no address comes twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    kind = AUTOCAST.get(precision)
    with (
        saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(images.device.type, dtype=kind, enabled=kind is not None),
    ):
        network(images)
    return sum(storage.nbytes() for storage in kept.values()) / 1e6
