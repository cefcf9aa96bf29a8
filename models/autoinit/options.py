"""What can be set of AutoInit."""

from typing import Literal

from pydantic import Field

from damagenet.config import Settings, make_settings
from damagenet.recipe import Choice

NAME = "autoinit"

Distribution = Literal["truncated_normal", "normal", "uniform", "orthogonal"]


class AutoInit(Settings):
    """The parameters of `model.init: {name: autoinit}`."""

    signal_variance: float = Field(1.0, gt=0, lt=float("inf"))
    """Variance of what leaves every layer of weights."""
    input_mean: float = Field(0.0, gt=-float("inf"), lt=float("inf"))
    """Mean of what leaves the normalising first layer."""
    input_var: float = Field(1.0, gt=0, lt=float("inf"))
    """Its variance."""
    distribution: Distribution = "truncated_normal"
    """What weights are drawn from; each has the same variance."""
    strict: bool = False
    """Refuse a function that there is no rule for, instead of passing it by with a warning."""
    monte_carlo: int = Field(100_000, ge=1_000, le=10_000_000)
    """Results drawn where there is no integral: pooling and functions of many channels."""


def read_options(choice: Choice) -> AutoInit:
    """Return the parameters of a choice, checked.

    Raises:
        ConfigError: If one is unknown or out of range.
    """
    return make_settings(AutoInit, choice.parameters, source=f"init {choice.name!r}")
