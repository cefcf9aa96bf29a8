"""Probabilities that mean what they say: temperature and bias, threshold, and band of doubt."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from damagenet.card import Calibration
from damagenet.errors import EvaluationError

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

LOG_TEMPERATURE_LIMIT = 3.0
"""Temperatures stay within e^-3..e^3: perfectly separated tiles would ask for zero."""
BIAS_LIMIT = 20.0
SHRINK_VARIANCES = torch.tensor([0.25, 4.0], dtype=torch.float64)
"""Prior variances of the logarithm of the temperature and of the bias, around 0."""
DISTANCE_DIGITS = 9
ERROR_OUTSIDE_BAND = 0.02
"""Share of wrong verdicts that is accepted outside the band of doubt."""


def fit_calibration(
    logits: Floats,
    labels: Labels,
    *,
    fitted_on: str = "",
    shrink: bool = False,
    balanced: bool = False,
) -> Calibration:
    """Fit temperature and bias by maximum likelihood (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: Of the validation tiles, (N,).
        labels: 1 damaged, 0 undamaged, (N,).
        fitted_on: What these tiles are, in words.
        shrink: Hold both numbers near temperature 1 and bias 0, as a few tens of labels that are
            perfectly separated would send them to their limits. With many labels it fades.
        balanced: Let both classes count alike, whatever their share.

    Raises:
        EvaluationError: If the shapes differ, a logit is not finite, or a class is missing.
    """
    _check(logits, labels)
    counts = _weights(labels, balanced=balanced)
    x = torch.from_numpy(np.asarray(logits, np.float64))
    y = torch.from_numpy(np.asarray(labels, np.float64))
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        scaled = _scaled(x, parameters)
        loss = F.binary_cross_entropy_with_logits(scaled, y, weight=counts)
        if shrink:
            loss = loss + (parameters**2 / SHRINK_VARIANCES).sum() / (2 * len(x))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # likewise
    log_temperature, bias = (float(value) for value in parameters.detach())
    return Calibration(
        temperature=float(np.exp(np.clip(log_temperature, *_symmetric(LOG_TEMPERATURE_LIMIT)))),
        bias=float(np.clip(bias, *_symmetric(BIAS_LIMIT))),
        fitted_on=fitted_on,
    )


def _weights(labels: Labels, *, balanced: bool) -> torch.Tensor:
    """Return what each label counts, 1 in the mean, float64 (N,)."""
    truth = np.asarray(labels, np.int64)
    shares = np.bincount(truth, minlength=2) / len(truth)
    weights = 0.5 / shares[truth] if balanced else np.ones(len(truth))
    return torch.from_numpy(weights)


def _scaled(logits: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    log_temperature = parameters[0].clamp(*_symmetric(LOG_TEMPERATURE_LIMIT))
    return logits * torch.exp(-log_temperature) + parameters[1]


def _symmetric(limit: float) -> tuple[float, float]:
    return -limit, limit


def probabilities(logits: Floats, calibration: Calibration) -> npt.NDArray[np.float64]:
    """Return `sigmoid(logits / temperature + bias)` as float64 of the same shape."""
    scaled = np.asarray(logits, np.float64) / calibration.temperature + calibration.bias
    return _sigmoid(scaled)


def balanced_threshold(p: Floats, labels: Labels) -> float:
    """Return the probability from which calling damage gives the best balanced accuracy.

    It lies halfway between the two neighbouring probabilities; of equally good ones, the
    nearest to 0.5 is taken.

    Raises:
        EvaluationError: If the shapes differ, a value is not finite, or a class is missing.
    """
    _check(p, labels)
    values, where = np.unique(np.asarray(p, np.float64), return_inverse=True)
    damaged = np.bincount(where, np.asarray(labels, np.float64), minlength=len(values))
    undamaged = np.bincount(where, minlength=len(values)) - damaged
    cuts = np.concatenate([[values[0]], (values[:-1] + values[1:]) / 2, [values[-1]]])
    recall = 1 - np.concatenate([[0.0], np.cumsum(damaged)]) / damaged.sum()
    specificity = np.concatenate([[0.0], np.cumsum(undamaged)]) / undamaged.sum()
    # Calling everything undamaged is no better than calling everything damaged: never the last.
    score = (recall + specificity)[:-1]
    best = np.flatnonzero(score >= score.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])


def even_threshold(logits: Floats, labels: Labels, calibration: Calibration) -> float:
    """Return the probability at which a logit speaks for both classes alike.

    Of a few tens of labels the best balanced accuracy is a matter of chance. This is where a
    calibration that counts both classes alike, and is held near the network's own, says one half:
    with few labels near logit 0, where a network that was trained on equal classes decides.

    Args:
        logits: Uncalibrated, (N,).
        labels: 1 damaged, 0 undamaged, (N,).
        calibration: Of the probabilities that are compared with the threshold.

    Raises:
        EvaluationError: If the shapes differ, a value is not finite, or a class is missing.
    """
    even = fit_calibration(logits, labels, shrink=True, balanced=True)
    p = probabilities(np.array([-even.bias * even.temperature]), calibration)
    return float(np.clip(p[0], 1e-6, 1 - 1e-6))


def uncertain_band(
    p: Floats, labels: Labels, threshold: float, *, error: float = ERROR_OUTSIDE_BAND
) -> tuple[float, float]:
    """Return the narrowest band around the threshold outside which verdicts are rarely wrong.

    The band is symmetric around the threshold in the logit and empty (both ends at the
    threshold) where the verdicts are good enough everywhere.

    Args:
        p: Calibrated probabilities of the validation tiles, (N,).
        labels: 1 damaged, 0 undamaged, (N,).
        threshold: Probability from which damage is called, inside 0..1.
        error: Accepted share of wrong verdicts outside the band.

    Raises:
        EvaluationError: If the shapes differ, a value is not finite, or a class is missing.
    """
    _check(p, labels)
    probability = np.asarray(p, np.float64)
    wrong = (probability >= threshold) != (np.asarray(labels) == 1)
    # Rounded, as 0.001 and 0.999 lie equally far from 0.5 but for the last digit of a logit.
    distance = np.round(np.abs(_logit(probability) - _logit(threshold)), DISTANCE_DIGITS)
    values, where = np.unique(-distance, return_inverse=True)
    outside = np.cumsum(np.bincount(where, minlength=len(values)))
    wrong_outside = np.cumsum(np.bincount(where, wrong, minlength=len(values)))
    good = np.flatnonzero(wrong_outside <= error * outside)
    if len(good) and good[-1] == len(values) - 1:
        return threshold, threshold
    # The band ends between the last distance that is good enough and the next one inwards.
    steps = np.concatenate([[-values[0] + 1.0], -values])
    last = good[-1] + 1 if len(good) else 0
    half = (steps[last] + steps[last + 1]) / 2
    low, high = _sigmoid(_logit(threshold) + np.array([-half, half]))
    return float(low), float(high)


def _check(values: Floats, labels: Labels) -> None:
    values, labels = np.asarray(values), np.asarray(labels)
    if values.ndim != 1 or values.shape != labels.shape:
        raise EvaluationError(
            f"predictions and labels must be two equally long rows, got {values.shape} "
            f"and {labels.shape}"
        )
    if not np.isfinite(values).all():
        raise EvaluationError("some predictions are not finite: the network diverged")
    if set(np.unique(labels)) != {0, 1}:
        raise EvaluationError("calibration needs tiles of both classes, labelled 0 and 1")


def _sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.exp(-np.logaddexp(0.0, -x))


def _logit(p: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    inside = np.clip(np.asarray(p, np.float64), 1e-12, 1 - 1e-12)
    return np.log(inside) - np.log1p(-inside)
