"""How often the neurons of a network spike, layer by layer."""

from collections.abc import Sequence

import torch
from torch import nn

from models.spiking.neurons import LeakyNeurons


def firing_rates(network: nn.Module, images: Sequence[torch.Tensor]) -> dict[str, float]:
    """Return the share of neurons and time steps that spike, 0..1, by layer in order.

    Empty for a network without spiking neurons.

    Args:
        network: Asked in evaluation mode, and left in the mode that it was in.
        images: What its forward takes.
    """
    rates: dict[str, float] = {}
    layers: dict[nn.Module, str] = {
        part: name.removeprefix("features.").removesuffix(".neurons")
        for name, part in network.named_modules()
        if isinstance(part, LeakyNeurons)
    }

    def note(layer: nn.Module, given: object, spikes: torch.Tensor) -> None:
        del given
        rates[layers[layer]] = float(spikes.mean())

    hooks = [layer.register_forward_hook(note) for layer in layers]
    training = network.training
    try:
        if layers:
            with torch.inference_mode():
                network.eval()(*images)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return rates
