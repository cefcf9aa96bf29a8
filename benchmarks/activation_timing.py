"""One activation measured: time, memory, and whether its compiled form is right."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from damagenet.errors import ConfigError
from models.activations import build_activation, fused, settle

IMAGES, CHANNELS, SIDE_PX = 64, 64, 64
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}
"""Of the compiled form against the plain one; bfloat16 holds 8 bits."""
SINGLE_BAR = 4.0
"""Forward and backward of one function, as a multiple of SiLU, for every transcendental call in
its formula, and at least one."""
MEMORY_BAR = 1.0
"""Saved for backward, as a multiple of the input."""
UNBARRED = ("pynada", "leaky_pynada")
"""Neurons with two sets of weights, measured without a bar on one function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one function in one type on one device."""

    name: str
    device: str
    dtype: str
    transcendentals: int
    forward_ms: float
    both_ms: float
    """Forward and backward."""
    forward_to_silu: float
    both_to_silu: float
    both_to_mish: float
    saved: float
    """Bytes kept for backward, as a multiple of the input's."""
    warm_up_s: float
    """The first pass, with compilation where nothing is in the cache on disk."""
    wrong: str
    """How the compiled form differs from the plain one; empty where it does not."""

    @property
    def misses(self) -> list[str]:
        """The bars that it misses."""
        limit = SINGLE_BAR * max(1, self.transcendentals)
        slow = self.name not in UNBARRED and self.both_to_silu > limit
        return [
            *([f"wrong: {self.wrong}"] if self.wrong else []),
            *([f"{self.both_to_silu:.2f} x SiLU, bar {limit:.0f}"] if slow else []),
            # What is computed of parameters, a few numbers, is counted too.
            *([f"saves {self.saved:.2f} inputs"] if self.saved > MEMORY_BAR + 0.001 else []),
        ]


def measure(name: str, dtype: str, device: str, *, repeats: int) -> Row:
    """Return the figures of one function."""
    torch.manual_seed(0)
    channels = entering(name)
    shape = (channels, SIDE_PX, SIDE_PX)
    layer = build_activation(name, channels=channels, shape=shape).to(device)
    features = torch.randn(IMAGES, *shape, device=device).to(DTYPES[dtype])
    features.requires_grad_()
    started = time.perf_counter()
    with mixed(features):
        result, saved = with_saved_bytes(layer, features)
    incoming = torch.randn_like(result)
    result.backward(incoming)
    wait(device)
    warm_up_s = time.perf_counter() - started
    del result
    wrong = difference(layer, features, incoming, tolerance=TOLERANCE[dtype])
    layer.train()

    of_torch = torch.randn_like(features)
    rounds = [
        (
            timed(F.silu, features, of_torch, device),
            timed(layer, features, incoming, device),
            timed(F.mish, features, of_torch, device),
        )
        for _ in range(repeats)
    ]
    return Row(
        name=name,
        device=device,
        dtype=dtype,
        transcendentals=settle(name, {}).function.transcendentals,
        forward_ms=1000 * statistics.median(own[0] for _, own, _ in rounds),
        both_ms=1000 * statistics.median(own[1] for _, own, _ in rounds),
        forward_to_silu=statistics.median(own[0] / silu[0] for silu, own, _ in rounds),
        both_to_silu=statistics.median(own[1] / silu[1] for silu, own, _ in rounds),
        both_to_mish=statistics.median(own[1] / mish[1] for _, own, mish in rounds),
        saved=saved / features.untyped_storage().nbytes(),
        warm_up_s=warm_up_s,
        wrong=wrong,
    )


def entering(name: str) -> int:
    """Return the most channels up to 64 that the function can be given."""
    setting = settle(name, {})
    possible = []
    for channels in range(1, 2 * CHANNELS + 1):
        try:
            possible.append(setting.width(channels))
        except ConfigError:
            continue
    return max(width for width in possible if width <= CHANNELS)


def with_saved_bytes(layer: nn.Module, features: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the layer's output and the bytes that it keeps for backward beside its parameters."""
    parameters = {each.untyped_storage().data_ptr() for each in layer.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = layer(features)
    return result, sum(storages.values())


def timed(
    function: Callable[[torch.Tensor], torch.Tensor],
    features: torch.Tensor,
    incoming: torch.Tensor,
    device: str,
) -> tuple[float, float]:
    """Return the seconds of forward, and of forward and backward."""
    features.grad = None
    wait(device)
    started = time.perf_counter()
    with mixed(features):
        result = function(features)
    wait(device)
    forward_s = time.perf_counter() - started
    result.backward(incoming)
    wait(device)
    return forward_s, time.perf_counter() - started


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def difference(
    layer: nn.Module, features: torch.Tensor, incoming: torch.Tensor, *, tolerance: float
) -> str:
    """Say where output or gradients are not those of the plain form, without random numbers."""
    layer.eval()
    compiled = results(layer, features, incoming)
    with plainly():
        expected = results(layer, features, incoming)
    for what, found in compiled.items():
        # A parameter's gradient is a sum over the whole tensor, rounded in another order.
        slack = tolerance * (
            1 if found.shape == expected["output"].shape else features.numel() ** 0.5
        )
        close = torch.isclose(found, expected[what], rtol=tolerance, atol=slack)
        if not close.all():
            far = (found - expected[what]).abs().max().item()
            return f"{what} is off by up to {far:.2g}"
    return ""


def results(
    layer: nn.Module, features: torch.Tensor, incoming: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return output and gradients in float32."""
    layer.zero_grad()
    features.grad = None
    with mixed(features):
        output = layer(features)
    output.backward(incoming)
    gradients = {name: each.grad for name, each in layer.named_parameters()}
    found = {"output": output.detach(), "gradient": features.grad, **gradients}
    return {what: each.float() for what, each in found.items() if each is not None}


def mixed(features: torch.Tensor) -> torch.autocast:
    """Return what training in half precision runs under."""
    half = features.dtype != torch.float32
    return torch.autocast(features.device.type, torch.bfloat16, enabled=half)


@contextmanager
def plainly() -> Iterator[None]:
    """Compute every function operation by operation."""
    smallest = fused.SMALLEST
    fused.SMALLEST = sys.maxsize
    try:
        yield
    finally:
        fused.SMALLEST = smallest
