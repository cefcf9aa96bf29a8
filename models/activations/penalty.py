"""What activations add to the training loss: slope recovery (Jagtap et al., arXiv:1909.12228)."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from models.activations.pointwise import Pointwise
from models.activations.site import Activation


def penalty(network: nn.Module) -> torch.Tensor | None:
    """Return W S(a) of the network's adaptive slopes; None where no activation asks for it.

    S = 1 / (mean over sites of exp(mean over the site of a)), and W is the parameter `recovery`.
    The less steep the slopes, the larger it is, so it pushes them up. As in the paper, the mean
    is taken over the layers; the authors' one-dimensional example divides by the sum.

    Args:
        network: Its sites are found by their class.
    """
    found = list(_slopes(network))
    if not found:
        return None
    slopes = torch.stack([slope for _, slope in found])
    # The mean of exponentials by its logarithm, which cannot overflow.
    log_mean = torch.logsumexp(slopes, dim=0) - math.log(len(slopes))
    return torch.exp(-log_mean) * max(weight for weight, _ in found)


def _slopes(network: nn.Module) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield weight and mean slope of every site with slope recovery."""
    for site in network.modules():
        if not isinstance(site, Activation) or site.setting is None:
            continue
        function, setting = site.function, site.setting
        if not setting.function.slope_recovery or not isinstance(function, Pointwise):
            continue
        if function.coefficients is not None and "a" in setting.trained:
            yield setting.numbers["recovery"], function.coefficients.get_parameter("a").mean()
