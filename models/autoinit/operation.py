"""One function of torch that a network calls, with what is known of its arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from models.autoinit.plan import Plan
from models.autoinit.signal import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A call, on tensors without values."""

    name: str
    function: Callable[..., object]
    arguments: tuple[object, ...]
    options: Mapping[str, object]
    result: torch.Tensor
    signal_of: Callable[[torch.Tensor], Signal]
    plan: Plan

    def given(self, position: int, name: str, usual: object = None) -> object:
        """Return an argument by place or name, else what is usual."""
        if position < len(self.arguments):
            return self.arguments[position]
        return self.options.get(name, usual)

    def number(self, position: int, name: str, usual: float = 0.0) -> float:
        """Return a number among the arguments."""
        value = self.given(position, name, usual)
        return float(value) if isinstance(value, int | float) else usual

    def numbers(self, position: int, name: str) -> list[int]:
        """Return whole numbers among the arguments, of which one may stand alone."""
        value = self.given(position, name, ())
        return [int(each) for each in value] if isinstance(value, Sequence) else [_whole(value)]

    def tensor(self, position: int, name: str) -> torch.Tensor:
        """Return a tensor among the arguments."""
        value = self.given(position, name)
        assert isinstance(value, torch.Tensor)
        return value

    def operand(self, position: int, name: str) -> Signal:
        """Return what is known of a tensor or a number among the arguments."""
        value = self.given(position, name)
        if isinstance(value, torch.Tensor):
            return self.signal_of(value)
        assert isinstance(value, int | float)
        return Signal(float(value), 0.0)

    @property
    def features(self) -> torch.Tensor:
        """Return the first tensor among the arguments."""
        values = (*self.arguments, *self.options.values())
        return next(value for value in values if isinstance(value, torch.Tensor))

    @property
    def signal(self) -> Signal:
        """Return what is known of the first tensor."""
        return self.signal_of(self.features)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
