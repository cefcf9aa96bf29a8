"""The layer whose map Grad-CAM is drawn from: the last one that still knows where things are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from damagenet.config import meant
from damagenet.errors import ConfigError
from damagenet.explain.log_odds import LogOdds
from models.cao_choe import Resize

SHOWN = 8
"""Layers that are named where one cannot be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapLayer:
    """A layer and what comes out of it.

    Attributes:
        name: Dotted path inside the network.
        layer: The layer.
        shape: Of its output for one chip, (N, C, h, w).
    """

    name: str
    layer: nn.Module
    shape: tuple[int, ...]


@dataclass(slots=True)
class _Seen:
    """What ran, in the order in which it ended."""

    maps: dict[str, MapLayer] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)


def map_layer(
    log_odds: LogOdds, images: Sequence[torch.Tensor], name: str | None = None
) -> MapLayer:
    """Return the layer that a map is drawn from.

    Args:
        log_odds: The network.
        images: One chip of each picture.
        name: A layer by its dotted path; None takes the last that gives maps.

    Raises:
        ConfigError: If there is none of that name, it gives no map or runs more than once, or
            the network keeps no map after its first layer.
    """
    seen = _run(log_odds.network, images)
    if name is not None:
        return _named(name, seen, log_odds.network)
    once = [one for one in seen.maps.values() if seen.runs[one.name] == 1]
    if not once or len({one.shape for one in seen.maps.values()}) == 1:
        raise ConfigError(
            "grad_cam needs a map that is left late in the network, and this one has none: take "
            "integrated_gradients, or name a layer with --layer"
        )
    return once[-1]


def _named(name: str, seen: _Seen, network: nn.Module) -> MapLayer:
    if name not in dict(network.named_modules()):
        known = list(seen.maps)
        raise ConfigError(
            f"layer: there is no {name!r}{meant(name, known)}; the last ones that give maps: "
            f"{', '.join(known[-SHOWN:])}"
        )
    if name not in seen.maps:
        raise ConfigError(
            f"layer: {name!r} gives no map (channels, height, width); the last ones that do: "
            f"{', '.join(list(seen.maps)[-SHOWN:])}"
        )
    if seen.runs[name] > 1:
        raise ConfigError(
            f"layer: {name!r} runs {seen.runs[name]} times for one chip: name one that runs once"
        )
    return seen.maps[name]


def _run(network: nn.Module, images: Sequence[torch.Tensor]) -> _Seen:
    seen = _Seen()
    with torch.no_grad(), _watched(network, seen, images=len(images)):
        network(*images)
    return seen


@contextmanager
def _watched(network: nn.Module, seen: _Seen, *, images: int) -> Iterator[None]:
    def watcher(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_layer: nn.Module, _given: object, result: object) -> None:
            seen.runs[name] = seen.runs.get(name, 0) + 1
            if isinstance(result, torch.Tensor) and _is_map(result, most=images):
                seen.maps[name] = MapLayer(name=name, layer=layer, shape=tuple(result.shape))

        return layer.register_forward_hook(note)

    # What prepares pixels or pools is no layer that has looked at them.
    watched = [
        (name, layer)
        for name, layer in network.named_modules()
        if name.startswith("features.") and not isinstance(layer, nn.AdaptiveAvgPool2d | Resize)
    ]
    hooks = [watcher(name, layer) for name, layer in watched]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_map(result: torch.Tensor, *, most: int) -> bool:
    """Whether an output is (1, C, h, w), or one such for each picture, as chips are square.

    Inside attention there are other tensors of four axes: heads, windows, channels at the end.
    """
    square = result.ndim == 4 and result.shape[2] == result.shape[3] > 1
    return square and result.shape[0] <= most
