"""Rules of pooling: drawn images, but for averages of whole windows, which are exact."""

import math
from collections.abc import Sequence

import torch

from models.autoinit.operation import Operation
from models.autoinit.sampling import drawn_through
from models.autoinit.signal import Signal


def pooled(operation: Operation) -> Signal:
    """The very call, on drawn images of one channel."""
    sides = tuple(operation.features.shape[2:])

    def function(images: torch.Tensor) -> torch.Tensor:
        result = operation.function(images, *operation.arguments[1:], **operation.options)
        values = result[0] if isinstance(result, tuple) else result
        assert isinstance(values, torch.Tensor)
        return values

    return drawn_through(
        function,
        operation.signal,
        shape=(1, *sides),
        results=math.prod(operation.result.shape[2:]),
        draws=operation.plan.options.monte_carlo,
    )


def averaged(operation: Operation) -> Signal:
    """Average pooling whose windows all hold as many numbers; else drawn as other pooling."""
    sides, left = operation.features.shape[2:], operation.result.shape[2:]
    if operation.name.startswith("adaptive"):
        whole = all(side % each == 0 for side, each in zip(sides, left, strict=True))
        window = math.prod(sides) // math.prod(left)
    else:
        size = operation.given(1, "kernel_size")
        window = math.prod(size) if isinstance(size, Sequence) else int(str(size)) ** len(sides)
        padding = operation.given(3, "padding", 0)
        whole = padding in (0, (0,) * len(sides)) and not operation.given(4, "ceil_mode", False)
    if not whole:
        return pooled(operation)
    return Signal(operation.signal.mean, operation.signal.variance / window)
