"""Which weights will be drawn with which variance."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.autoinit.options import AutoInit
from models.autoinit.signal import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Weights that are to be drawn."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    """Starts at zero."""
    variance: float


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a walk has found so far."""

    options: AutoInit
    parameter_of: Callable[[object], nn.Parameter | None]
    """Returns the parameter that a tensor of the walk stands for; None for what is computed."""
    draws: dict[nn.Parameter, Draw] = field(default_factory=dict)
    """By weight, in the order in which the network uses them."""

    def add(self, weight: torch.Tensor, bias: object, entering: Signal) -> Signal | None:
        """Plan a layer's weights so that the target variance leaves it; return what leaves.

        A layer that is called again keeps the weights of its first call.

        Args:
            weight: (outputs, inputs, ...); None is returned if it is no parameter.
            bias: Of the layer, or None.
            entering: What enters.

        Raises:
            ConfigError: If nothing but zeros enters.
        """
        parameter = self.parameter_of(weight)
        if parameter is None:
            return None
        if not entering.second:
            raise ConfigError("nothing but zeros enters a layer: no weights give that a variance")
        fan_in = weight[0].numel()
        if parameter not in self.draws:
            self.draws[parameter] = Draw(
                weight=parameter,
                bias=self.parameter_of(bias),
                variance=self.options.signal_variance / (fan_in * entering.second),
            )
        return Signal(0.0, fan_in * self.draws[parameter].variance * entering.second)
