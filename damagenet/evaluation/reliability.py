"""Reliability: how often what was called p% damaged is damaged, as a table and as a plot."""

from html import escape

import numpy as np
import numpy.typing as npt

from damagenet.config import Settings
from damagenet.evaluation.intervals import binomial_interval
from damagenet.evaluation.metrics import equal_mass_bins, make_sample

SIDE_PX = 320
MARGIN_PX = 48


class ReliabilityBin(Settings):
    """Units of similar probability: what was said and what was so."""

    n: int
    p_mean: float
    """Mean probability that was said, 0..1."""
    share_damaged: float
    """Share that is damaged in truth, 0..1."""
    low: float
    """Lower end of the exact 95 % interval of that share."""
    high: float


def reliability_bins(p: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[ReliabilityBin, ...]:
    """Return the filled bins of the calibration error, from low to high probability.

    Args:
        p: Probabilities of damage (N,), 0..1.
        labels: 1 where damaged in truth, else 0 (N,).

    Raises:
        EvaluationError: If there is nothing to score, or a value is out of its range.
    """
    sample = make_sample(p, labels, flagged=np.ones(np.size(p), bool))
    place = equal_mass_bins(sample.p)
    return tuple(
        _make_bin(sample.p[place == number], sample.labels[place == number])
        for number in np.unique(place)
    )


def _make_bin(p: npt.NDArray[np.float64], damaged: npt.NDArray[np.bool_]) -> ReliabilityBin:
    interval = binomial_interval(int(damaged.sum()), damaged.size)
    return ReliabilityBin(
        n=damaged.size,
        p_mean=float(p.mean()),
        share_damaged=float(damaged.mean()),
        low=interval.low,
        high=interval.high,
    )


def reliability_svg(bins: tuple[ReliabilityBin, ...], title: str) -> str:
    """Draw the bins with their intervals against the diagonal, as a complete SVG document."""
    marks = "\n".join(_mark(one) for one in bins)
    full = SIDE_PX + 2 * MARGIN_PX
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} {full}" \
width="{full}" height="{full}" font-family="sans-serif" font-size="12" role="img">
<title>{escape(title)}</title>
<rect width="{full}" height="{full}" fill="white"/>
<text x="{full / 2}" y="28" text-anchor="middle" font-size="14">{escape(title)}</text>
<rect x="{MARGIN_PX}" y="{MARGIN_PX}" width="{SIDE_PX}" height="{SIDE_PX}" fill="none" \
stroke="#888"/>
<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#888" stroke-dasharray="4 4"/>
{_ticks()}
{marks}
<text x="{full / 2}" y="{full - 10}" text-anchor="middle">probability of damage that was said</text>
<text x="14" y="{full / 2}" text-anchor="middle" transform="rotate(-90 14 {full / 2})">\
share that is damaged</text>
</svg>
"""


def _mark(one: ReliabilityBin) -> str:
    x = _x(one.p_mean)
    return (
        f'<line x1="{x}" y1="{_y(one.low)}" x2="{x}" y2="{_y(one.high)}" stroke="#2166ac"/>'
        f'<circle cx="{x}" cy="{_y(one.share_damaged)}" r="4" fill="#2166ac">'
        f"<title>said {one.p_mean:.3f}, was {one.share_damaged:.3f} ({one.n})</title></circle>"
    )


def _ticks() -> str:
    bottom = MARGIN_PX + SIDE_PX + 16
    return "\n".join(
        f'<text x="{_x(at)}" y="{bottom}" text-anchor="middle">{at:g}</text>'
        f'<text x="{MARGIN_PX - 6}" y="{_y(at) + 4}" text-anchor="end">{at:g}</text>'
        for at in (0, 0.25, 0.5, 0.75, 1)
    )


def _x(value: float) -> float:
    return round(MARGIN_PX + SIDE_PX * value, 2)


def _y(value: float) -> float:
    return round(MARGIN_PX + SIDE_PX * (1 - value), 2)
