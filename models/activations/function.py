"""One row of the table of activations: what a function is, and how a layer of it is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import nn

Range = Literal["any", "positive", "not negative", "unit"]
"""`unit` is 0 <= value < 1."""
Sharing = Literal["layer", "channel", "network", "pixel"]
Smoothness = Literal["C0", "C1", "C-inf", "none"]
Status = Literal["confirmed", "survey", "standard", "assumed"]
Value = Callable[..., torch.Tensor]
"""Takes x (any shape, floating) and the parameters by name; returns the function's values.

Half precision comes as float32 unless the callable says `widens` of itself. It says `whole` of
itself where a value hangs on more of x than the numbers at its place.
"""
HALF = (torch.bfloat16, torch.float16)
"""Types in which functions are not computed, only stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One number of a function."""

    initial: float
    learnable: bool = True
    """Whether it is trained; a fixed number stays as the recipe gives it."""
    range: Range = "any"
    """Kept by parametrisation while it is trained, and checked when it is given."""
    inverse_of: str | None = None
    """A fixed number: their product is 1 unless this one is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A whole number that shapes a function, as the inputs it joins."""

    usual: int
    low: int = 1
    high: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """What is known of an activation, and its formula.

    Exactly one of `value` and `layer` is set: `value` for a function of single numbers, which
    becomes a `Pointwise` layer, and `layer` for torch's own modules and for functions that look
    at more than one number.
    """

    formula: str
    """In the words of the paper, readable as Python."""
    source: str
    """Where the formula stands: arXiv number, DOI or package."""
    smoothness: Smoothness
    status: Status = "standard"
    """How sure the formula is: `confirmed` by the authors' text or code, `survey` by others,
    `standard` in textbooks, `assumed` where no source could be read."""
    value: Value | None = None
    layer: "Layer | None" = None
    in_training: Value | None = None
    """For a function that draws random numbers: its form in training, which takes a `seed` too
    and draws from it alone."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """Its numbers, fixed and trained."""
    series: "Series | None" = None
    """For a sum with a settable count of terms: the parameters of each term."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameters that are words, with what they may say; the first is the default."""
    counts: Mapping[str, Count] = field(default_factory=dict)
    """Parameters that count something."""
    joins: bool = False
    """Whether `value` looks at several channels at once: it is told their axis as `dim`."""
    derived: "Derived | None" = None
    """Numbers that follow from the counts, where the recipe does not give them."""
    width: "Width | None" = None
    """For functions that join or split channels: how many must enter."""
    per: Sharing = "layer"
    """How far one set of trained numbers reaches, unless the recipe says otherwise."""
    transcendentals: int = 0
    """Calls of exp, log, sin, tanh ... per number in the formula: what it may cost."""
    degree: float = 1.0
    """Power of x that values and slopes grow with: |x| ** degree must be finite in its type."""
    slope_recovery: bool = False
    """Whether `a` enters the slope-recovery term of the loss."""
    note: str = ""
    """What a user must know before choosing it."""

    def parameters_of(self, counts: Mapping[str, int]) -> dict[str, Parameter]:
        """Return all its numbers, those of the terms of a series among them."""
        terms = self.series(counts["terms"]) if self.series else {}
        return {**self.parameters, **terms}


class Layer(Protocol):
    """Makes the layer of a function that is no formula of single numbers."""

    def __call__(
        self, values: Mapping[str, float | int | str], *, channels: int | None, dim: int
    ) -> nn.Module:
        """Return a fresh layer.

        Args:
            values: All parameters by name, defaults filled in.
            channels: Channels that enter; None where each parameter is one number per layer.
            dim: Axis of the channels.
        """


Series = Callable[[int], Mapping[str, Parameter]]
"""Takes the number of terms and returns their parameters by name."""
Derived = Callable[[Mapping[str, int]], Mapping[str, float]]
"""Takes the counts and returns numbers by name."""
Width = Callable[[int, Mapping[str, float | int | str]], int]
"""Takes the channels that shall come out, and all parameters; returns how many must enter.

Raises ConfigError where no number does.
"""


def native(module: Callable[..., nn.Module], **renamed: str) -> Layer:
    """Return the maker of one of torch's own modules.

    Args:
        module: The class.
        renamed: Torch's name of each parameter, by ours.
    """

    def make(
        values: Mapping[str, float | int | str], *, channels: int | None, dim: int
    ) -> nn.Module:
        del channels, dim
        return module(**{renamed.get(name, name): value for name, value in values.items()})

    return make
