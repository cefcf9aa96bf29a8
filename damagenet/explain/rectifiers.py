"""The rectifiers of a network as modules that guided backpropagation can hook."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from damagenet.errors import ConfigError
from models.swap.known import wanted
from models.swap.recording import Call, record

RECTIFIERS = ("relu", "relu6")
SHOWN = 3
"""Activations that are named where some are in the way."""


class Rectifier(nn.ReLU):
    """min(max(x, 0), ceiling); by its class captum sees that it is one."""

    def __init__(self, ceiling: float | None) -> None:
        super().__init__()
        self.ceiling = ceiling

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the same shape; never in place."""
        if self.ceiling is None:
            return F.relu(features)
        return F.hardtanh(features, 0.0, self.ceiling)


class Gate(nn.Module):
    """A rectifier whose input nobody else reads.

    captum cuts the gradient of the tensor that enters. Where a shortcut reads the same tensor, its
    gradient would be cut too.
    """

    def __init__(self, ceiling: float | None = None) -> None:
        super().__init__()
        self.rectifier = Rectifier(ceiling)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the same shape."""
        result: torch.Tensor = self.rectifier(features.clone())
        return result


def put_gates(network: nn.Module) -> None:
    """Replace every ReLU and ReLU6 of a network, in place; the network computes what it did.

    What else works in place stops doing so: a map that is looked at must stay as it was.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ReLU):
                setattr(parent, name, Gate())
            elif isinstance(layer, nn.Hardtanh) and layer.min_val == 0:
                setattr(parent, name, Gate(float(layer.max_val)))
            elif hasattr(layer, "inplace"):
                layer.inplace = False  # type: ignore[assignment]  # torch types all as tensors


def require_rectifiers(network: nn.Module, images: Sequence[torch.Tensor]) -> None:
    """Check that all activations of a network with gates are rectifiers, and behind gates.

    The rule is made for rectifiers; what squashes or weighs, as a sigmoid, may stand beside them.

    Args:
        network: After `put_gates`.
        images: What it takes, one chip of each picture; only shapes matter.

    Raises:
        ConfigError: If it has another activation, one that cannot be hooked, or none.
    """
    calls = record(network, images, training=False, wanted=wanted(None)).calls
    others = [call for call in calls if call.known.function not in RECTIFIERS]
    if others:
        raise ConfigError(
            f"guided_backprop is made for ReLU, and this network has {_named(others)}: take "
            "grad_cam or integrated_gradients"
        )
    bare = [call for call in calls if not _hooked(call)]
    if bare:
        raise ConfigError(
            f"guided_backprop cannot hook {_named(bare)}, which the network calls as a function "
            "and not as a layer: take grad_cam or integrated_gradients"
        )
    if not calls:
        raise ConfigError(
            "guided_backprop needs ReLU layers and this network has none: take grad_cam or "
            "integrated_gradients"
        )


def _hooked(call: Call) -> bool:
    place = call.place
    if isinstance(place.owner, Rectifier):
        return True
    return isinstance(place.target, nn.Module) and any(
        isinstance(layer, Rectifier) for layer in place.target.modules()
    )


def _named(calls: Sequence[Call]) -> str:
    names = list(dict.fromkeys(call.known.function for call in calls))
    more = f" and {len(names) - SHOWN} more kinds" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} at {len(calls)} place{'s'[: len(calls) > 1]}"
