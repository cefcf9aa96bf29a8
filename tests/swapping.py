"""What the tests of swapping share: counting activations in torch's own operations."""

import copy
from collections import Counter

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from damagenet.recipe import Choice
from models.activations import Activation, ActivationMaker, activation_maker

MARKER = "gcu"
"""x cos x: no network that is tested here takes a cosine by itself."""
ACTIVATING = {"elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "silu"}
"""Torch's operations behind all activations but gates."""


def maker(name: str, **parameters: float | str | bool) -> ActivationMaker:
    return activation_maker(Choice(name=name, parameters=parameters))


def pvlu_at_zero(**parameters: str) -> ActivationMaker:
    return maker("pvlu", alpha=0.0, **parameters)


def placed(network: nn.Module) -> list[Activation]:
    return [module for module in network.modules() if isinstance(module, Activation)]


class Operations(TorchDispatchMode):
    """Counts the operations that reach torch's kernels, however the network asked for them."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__.rstrip("_")
        self.counts[name] += 1
        if name == "native_batch_norm":
            # Torch works the shape of its input out again, which takes most of a pass.
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        return func(*args, **(kwargs or {}))


def operations(network: nn.Module, images: torch.Tensor, *, training: bool) -> Counter[str]:
    """Count the operations of one forward pass, on the meta device, which computes nothing."""
    stand_in = copy.deepcopy(network).to("meta").train(training)
    with torch.no_grad(), Operations() as seen:
        stand_in(images.to("meta"))
    return seen.counts


def activations_in(counts: Counter[str]) -> int:
    return sum(counts[name] for name in ACTIVATING)


def images(size_px: int, *, n: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, size_px, size_px, generator=torch.Generator().manual_seed(seed))


def bits(values: torch.Tensor) -> torch.Tensor:
    """Return what tells even 0.0 from -0.0."""
    return values.contiguous().view(torch.uint8)


@torch.no_grad()
def outputs(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return network.eval()(batch)
