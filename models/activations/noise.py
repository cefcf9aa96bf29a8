"""Random numbers that can be had again from a seed, for functions that draw them in training.

Backward has to see the noise of forward. Kept, it would cost as much memory as the input; computed
again from one seed and the position of each number, it costs none, fits into a compiled kernel,
and is the same there as operation by operation.
"""

import math

import torch

MULTIPLIERS = (0x21F0AAAD, 0x735A2D97)
"""Of the 32-bit hash with shifts 16, 15, 15, found by search for least bias (hash-prospector)."""
TO_UNIT = 2.0**-24


def fresh_seed(features: torch.Tensor) -> torch.Tensor:
    """Return a seed from torch's own generator: int32 (2,) on the device of `features`."""
    return torch.randint(-(2**31), 2**31, (2,), dtype=torch.int32, device=features.device)


def uniform_like(x: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """Return numbers spread evenly over (0, 1], of the shape and type of `x`."""
    return _unit(_bits(x, seed), x.dtype)


def normal_like(x: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """Return numbers from N(0, 1), of the shape and type of `x` (Box and Muller 1958)."""
    bits = _bits(x, seed)
    radius = torch.sqrt(-2 * torch.log(_unit(bits, x.dtype)))
    return radius * torch.cos(2 * math.pi * _unit(_mixed(bits + 1), x.dtype))


def _bits(x: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    position = torch.arange(x.numel(), device=x.device).view(x.shape).to(torch.int32)
    return _mixed(_mixed(position ^ seed[0]) ^ seed[1])


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    for multiplier, shift in zip(MULTIPLIERS, (16, 15), strict=True):
        bits = (bits ^ _shifted(bits, shift)) * multiplier
    return bits ^ _shifted(bits, 15)


def _shifted(bits: torch.Tensor, count: int) -> torch.Tensor:
    # A shift to the right repeats the sign, which a hash of unsigned numbers does not.
    return (bits >> count) & ((1 << (32 - count)) - 1)


def _unit(bits: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (_shifted(bits, 8).to(dtype) + 0.5) * TO_UNIT
