"""Fixed standardisation of what enters a stage, for networks that are trained in rounds.

Mean and deviation of each channel are buffers of the stage's first module, so that no other name
in the network's state changes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from damagenet.errors import ConfigError
from models.classifier import Classifier
from models.stages import stages

MEAN, STD = "entering_mean", "entering_std"
CHIP_PX = 128
"""Side of the chips that networks are built for."""
SMALLEST_STD = 1e-6
"""Channels that vary less are only shifted."""

Batches = Callable[[], Iterable[torch.Tensor]]
"""Yields images (N, 3, S, S) of all batches, the same at every call."""


def add_standardisation(network: Classifier, channels: Mapping[str, int]) -> None:
    """Put standardisation before stages, at first with mean 0 and deviation 1.

    Args:
        network: Changed in place.
        channels: How many channels enter each of the stages, by the stage's name.

    Raises:
        ConfigError: If there is no stage of a name.
    """
    first = _first_modules(network)
    for name, count in channels.items():
        if name not in first:
            raise ConfigError(f"no stage {name!r} to standardise; there are: {', '.join(first)}")
        module = first[name]
        device = next(module.parameters()).device
        module.register_buffer(MEAN, torch.zeros(count, device=device))
        module.register_buffer(STD, torch.ones(count, device=device))
        module.register_forward_pre_hook(_standardise)


def standardised(network: Classifier) -> dict[str, int]:
    """Return the stages that have standardisation before them, with their channels."""
    return {
        name: len(getattr(module, MEAN))
        for name, module in _first_modules(network).items()
        if hasattr(module, MEAN)
    }


def entering_channels(network: Classifier, names: Sequence[str]) -> dict[str, int]:
    """Return how many channels enter stages; for networks on torch's `meta` device too.

    Raises:
        ConfigError: If what enters a stage is neither maps (N, C, S, S) nor features (N, C).
    """
    first, shapes = _first_modules(network), {}

    def note(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        shapes[module] = tuple(given[0].shape) if given else ()

    handles = [first[name].register_forward_pre_hook(note) for name in names]
    device = next(network.parameters()).device
    with torch.no_grad():
        network.eval()(*[torch.zeros(2, 3, CHIP_PX, CHIP_PX, device=device)] * network.images)
    for handle in handles:
        handle.remove()
    found = {name: shapes.get(first[name], ()) for name in names}
    for name, shape in found.items():
        if len(shape) != 2 and not (len(shape) == 4 and shape[2] == shape[3]):
            raise ConfigError(
                f"what enters {name} has the shape {shape}: only channels (N, C, S, S) or features "
                "(N, C) can be standardised; set normalise to false, or choose other blocks"
            )
    return {name: shape[1] for name, shape in found.items()}


def measure(network: Classifier, name: str, batches: Batches) -> None:
    """Set the standardisation before a stage by what enters it, in place.

    The running statistics of the batch norms before it are taken anew as well, since weights may
    have changed under them.

    Args:
        network: On the device of the batches; left in training mode.
        name: A stage with standardisation before it.
        batches: All images that are learned from.
    """
    found = stages(network)
    place = [stage.name for stage in found].index(name)
    norms = [
        norm
        for stage in found[:place]
        for module in stage.modules
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and norm.track_running_stats
    ]
    _take_anew(network, norms, batches)
    first = _first_modules(network)[name]
    sums = torch.zeros(3, len(getattr(first, MEAN)), dtype=torch.float64)

    def add(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        del module
        values = given[0].double().transpose(0, 1).flatten(1)  # (N, C, ...) -> (C, n)
        each = (torch.full_like(values[:, 0], values.shape[1]), values.sum(1), (values**2).sum(1))
        sums.add_(torch.stack(each).cpu())

    handle = first.register_forward_pre_hook(add, prepend=True)
    _look_at(network.eval(), batches)
    handle.remove()
    mean = sums[1] / sums[0]
    std = (sums[2] / sums[0] - mean**2).clamp_min(0).sqrt()
    getattr(first, MEAN).copy_(mean)
    getattr(first, STD).copy_(torch.where(std < SMALLEST_STD, 1.0, std))
    network.train()


def _take_anew(network: Classifier, norms: list[_BatchNorm], batches: Batches) -> None:
    """Set the running statistics of norms to the mean over all batches."""
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then averages over all batches
        norm.train()
    _look_at(network, batches)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _look_at(network: Classifier, batches: Batches) -> None:
    with torch.no_grad():
        for images in batches():
            network(images)


def _first_modules(network: Classifier) -> dict[str, nn.Module]:
    return {stage.name: stage.modules[0] for stage in stages(network)}


def _standardise(module: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Standardise each channel of (N, C, ...) before a module sees it."""
    features, *rest = given
    shape = (-1, *[1] * (features.ndim - 2))
    mean, std = getattr(module, MEAN).view(shape), getattr(module, STD).view(shape)
    # In mixed precision the statistics are finer than the features, whose type must stay.
    return (((features - mean) / std).to(features.dtype), *rest)
