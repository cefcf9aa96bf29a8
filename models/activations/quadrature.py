"""Expectations over independent standard-normal numbers, by Gauss-Legendre rules."""

from dataclasses import dataclass

import numpy as np
import torch

FAR = 12.0
"""The normal density beyond it is under 1e-31."""
PANELS_PER_UNIT = 512
"""Kinks and jumps at multiples of 1 / 512 fall between the panels of the quadrature; elsewhere
a kink costs at most 1e-7 and a jump 1e-4."""
NODES = 8
"""Nodes of the Gauss-Legendre rule in a panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Where a function is looked at to integrate it."""

    values: torch.Tensor
    """float64 (P, k): numbers that enter together."""
    weights: torch.Tensor
    """float64 (P,): probability of each, 1 in sum."""


def points_of(inputs: int) -> Points:
    """Return where to look at a function of `inputs` numbers, 1 or 2."""
    if inputs == 1:
        nodes, weights = _panels(-FAR, FAR, per_unit=PANELS_PER_UNIT)
        return _normalised(nodes[:, None], weights * np.exp(-(nodes**2) / 2))
    # In polar coordinates: where functions of two inputs bend, they bend along rays of 45
    # degrees, which lie between the panels.
    radii, of_radius = _panels(0, FAR, per_unit=8)
    turns, of_turn = _panels(0, 1, per_unit=16)
    angles = 2 * np.pi * turns
    values = radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights = np.outer(of_radius * radii * np.exp(-(radii**2) / 2), of_turn)
    return _normalised(values.reshape(-1, 2), weights.reshape(-1))


def expected(points: Points, result: torch.Tensor) -> float:
    """Return the expectation of `result`, (P, outputs), the mean over all outputs."""
    return float(points.weights @ result.detach().mean(dim=1))


def _panels(low: float, high: float, *, per_unit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of a Gauss-Legendre rule in each of many equal panels."""
    edges = np.linspace(low, high, round((high - low) * per_unit) + 1)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges)[:, None] / 2
    middle = (edges[:-1] + edges[1:])[:, None] / 2
    return (middle + half * nodes).reshape(-1), (half * weights).reshape(-1)


def _normalised(values: np.ndarray, weights: np.ndarray) -> Points:
    return Points(
        values=torch.from_numpy(values), weights=torch.from_numpy(weights / weights.sum())
    )
