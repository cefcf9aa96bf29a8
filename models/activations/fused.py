"""One compiled kernel for a function, forward and backward, that keeps only its input.

Written out in torch's operations a function reads and writes the tensor once for every operation,
and autograd keeps what lies between. Compiled, it is one pass each way, and backward computes
again what it needs from the input. Measured figures: `benchmarks/activations.py`.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial

import torch
from torch._functorch import config as functorch
from torch.utils.checkpoint import checkpoint

from models.activations.blocked import cuts, divides, in_blocks
from models.activations.function import HALF, Value

log = logging.getLogger(__name__)

SMALLEST = 1 << 18
"""Tensors with fewer numbers are not worth a compilation, which takes seconds."""

Fixed = tuple[tuple[str, float | int | str], ...]
"""The parameters that are not trained, which become constants of the kernel."""


def evaluate(
    value: Value, fixed: Fixed, features: torch.Tensor, learned: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Return the function's values, through a compiled kernel where that pays.

    Args:
        value: The formula.
        fixed: Its constants.
        features: Any shape; half precision is computed in float32 and returned as it came.
        learned: Its trained parameters, shaped to broadcast over `features`.
    """
    pay = pays(features, learned)
    if pay and _compiler_works(features.device.type):
        # Without a budget torch keeps masks and results beside the input where it thinks that
        # this saves time; here it costs memory and, for masks, time as well.
        with functorch.patch(activation_memory_budget=0.0):
            return _kernel(value, fixed)(features, learned)
    if _in_blocks(value, fixed, features, learned):
        return in_blocks(lambda part: plain(value, fixed, part, learned), features)
    form = recomputed if pay else plain
    return form(value, fixed, features, learned)


def plain(
    value: Value, fixed: Fixed, features: torch.Tensor, learned: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Return the function's values operation by operation: the reference for all other forms."""
    widen = features.dtype in HALF and not getattr(value, "widens", False)
    wide = features.float() if widen else features
    return value(wide, **dict(fixed), **learned).to(features.dtype)


def recomputed(
    value: Value, fixed: Fixed, features: torch.Tensor, learned: dict[str, torch.Tensor]
) -> torch.Tensor:
    """As `plain`, but keep only the input for backward and compute again what it needs."""
    result: torch.Tensor = checkpoint(
        partial(plain, value, fixed), features, learned, use_reentrant=False
    )
    return result


def pays(features: torch.Tensor, learned: dict[str, torch.Tensor]) -> bool:
    """Whether a compiled kernel does: for a tensor that is large enough, and many like it."""
    if torch.compiler.is_compiling() or features.numel() < SMALLEST:
        return False
    tracked = features.requires_grad or any(each.requires_grad for each in learned.values())
    return (torch.is_grad_enabled() and tracked) or _always.get()


_always: ContextVar[bool] = ContextVar("_always", default=False)


@contextmanager
def kernels_without_gradients() -> Iterator[None]:
    """Use compiled kernels where no gradient is asked for too, as in validation.

    Not the default: a picture of a few hundred chips is assessed sooner than a kernel is compiled,
    and the last digits of its probabilities would hang on whether there is a compiler.
    """
    before = _always.set(True)
    try:
        yield
    finally:
        _always.reset(before)


def _in_blocks(
    value: Value, fixed: Fixed, features: torch.Tensor, learned: dict[str, torch.Tensor]
) -> bool:
    """Whether the function is computed block by block: where no gradient and no graph is kept."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    told = dict(fixed)
    # One seed would draw the same for each block.
    whole = getattr(value, "whole", False) or "seed" in learned
    # Groups of channels have an axis more than features, of which `Joined` has thought.
    if "dim" in told and not hasattr(value, "whole"):
        whole = whole or not cuts(int(told["dim"]), features.ndim)
    return not whole and divides(features, learned)


Kernel = Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]


@lru_cache(maxsize=256)
def _kernel(value: Value, fixed: Fixed) -> Kernel:
    # A function of its own for each kernel: dynamo limits the variants per code object.
    def kernel(features: torch.Tensor, learned: dict[str, torch.Tensor]) -> torch.Tensor:
        return plain(value, fixed, features, learned)

    kernel.__code__ = kernel.__code__.replace(co_name=f"kernel_{id(kernel):x}")
    # One compilation for all sizes, or every new size of a network would wait for its own.
    return torch.compile(kernel, dynamic=True)


def forget_kernels() -> None:
    """Free all compiled kernels; the next call of a function compiles again."""
    _kernel.cache_clear()
    torch.compiler.reset()


@lru_cache(maxsize=8)
def _compiler_works(device: str) -> bool:
    """Whether torch can compile for a device here; tries it once, and says so where it cannot."""
    # In a thread, which knows of no transform, checkpoint or mode that the caller may be in.
    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(_try_compiler, device).result()


def _try_compiler(device: str) -> bool:
    # It tells of a missing CUDA toolkit, which nobody has asked for.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        probe = torch.ones(8, device=device, requires_grad=True)
        torch.compile(lambda x: x.sin() + 1)(probe).sum().backward()
    # Whatever is missing (a C++ compiler, Triton, a header) the plain form computes the same.
    except Exception as err:  # noqa: BLE001
        reason = str(err).strip().splitlines()[0][:160] if str(err).strip() else type(err).__name__
        log.warning(
            "activations run without compiled kernels on %s, slower but equal: %s", device, reason
        )
        return False
    return True
