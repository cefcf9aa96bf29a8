"""Leaky integrate-and-fire neurons, and how gradients pass a threshold that has none."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.autograd import Function

PEAK = 0.3
"""Derivative that stands for the threshold's own where the voltage just reaches it."""


class LeakyNeurons(nn.Module):
    """The neurons of one layer, from rest through all time steps.

    At each step a neuron keeps `leak` of its voltage and adds the current that comes in. Above
    `threshold` it spikes and the threshold is taken off its voltage (reset by subtraction). The
    spike's derivative by u = voltage / threshold - 1 is replaced by 0.3 max(0, 1 - |u|), and what
    the reset takes off counts as a constant (Vicente-Sola et al. 2022, arXiv:2111.05955). Nothing
    stays from one call to the next. Voltages are single precision, or double where currents are.
    """

    def __init__(self, *, leak: float, threshold: float) -> None:
        """Take the constants.

        Args:
            leak: Share of the voltage that is left at the next step, 0..1; 1 loses none.
            threshold: Voltage above which a neuron spikes, above 0.
        """
        super().__init__()
        self.leak = leak
        self.threshold = threshold

    def forward(self, currents: Iterable[torch.Tensor]) -> torch.Tensor:
        """Return spikes of 0 and 1 (T * N, ...), step after step, of T currents (N, ...)."""
        if torch.is_grad_enabled():
            spikes: torch.Tensor = _Fire.apply(self.leak, self.threshold, *currents)
            return spikes
        return self._fire(currents)

    def extra_repr(self) -> str:
        """Name the constants where the network is printed."""
        return f"leak={self.leak}, threshold={self.threshold}"

    def _fire(self, currents: Iterable[torch.Tensor]) -> torch.Tensor:
        """As `forward`, keeping no voltage but the last."""
        steps: list[torch.Tensor] = []
        rest: torch.Tensor | None = None
        for current in currents:
            voltage = current if rest is None else torch.add(current, rest, alpha=self.leak)
            spikes = (voltage > self.threshold).to(voltage.dtype)
            rest = torch.sub(voltage, spikes, alpha=self.threshold)
            steps.append(spikes)
        return torch.cat(steps)


class _Fire(Function):
    """All steps of a layer as one operation, which keeps the voltages alone for its backward."""

    @staticmethod
    def forward(
        ctx: Any,  # Any: torch types neither this nor what is kept in it
        leak: float,
        threshold: float,
        *currents: torch.Tensor,
    ) -> torch.Tensor:
        count = len(currents)
        spikes = _like(currents[0], count)
        voltages = []
        rest: torch.Tensor | None = None
        for current, out in zip(currents, spikes.chunk(count), strict=True):
            voltage = current if rest is None else torch.add(current, rest, alpha=leak)
            torch.gt(voltage, threshold, out=out)
            rest = torch.sub(voltage, out, alpha=threshold)
            voltages.append(voltage)
        ctx.save_for_backward(*voltages)
        ctx.leak, ctx.threshold = leak, threshold
        return spikes

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        voltages: tuple[torch.Tensor, ...] = ctx.saved_tensors
        found: list[torch.Tensor] = []
        for voltage, spike in zip(
            reversed(voltages), reversed(gradient.chunk(len(voltages))), strict=True
        ):
            here = surrogate(voltage / ctx.threshold - 1).mul_(spike).div_(ctx.threshold)
            # Through the leak alone: what the reset took off is a constant.
            found.append(here.add_(found[-1], alpha=ctx.leak) if found else here)
        return None, None, *reversed(found)


def surrogate(u: torch.Tensor) -> torch.Tensor:
    """Return what stands for the derivative of a spike at u = voltage / threshold - 1."""
    return u.abs().neg_().add_(1).clamp_(min=0).mul_(PEAK)


def _like(current: torch.Tensor, count: int) -> torch.Tensor:
    """Return an empty tensor for so many currents one after the other, in their layout."""
    layout = torch.contiguous_format
    if current.ndim == 4 and current.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    shape = (count * current.shape[0], *current.shape[1:])
    return torch.empty(shape, dtype=current.dtype, device=current.device, memory_format=layout)
