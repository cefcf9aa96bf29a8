"""Which verdicts may stand: a band of doubt whose share of errors outside is bounded.

Let the verdicts be ordered by their distance from the threshold. Beginning with the quarter that
lies farthest, more and more of them are let stand, and each time it is tested on the calibration
labels whether the share of wrong ones among them is at most E (exact binomial limit: Clopper and
Pearson 1934). The first test that fails ends it: testing in a fixed order spends the risk once
(fixed sequence testing, Angelopoulos et al. 2021, arXiv:2110.01052, section 4).

The guarantee: with probability 0.9 over the draw of the calibration labels, at most a share E of
the verdicts outside the band is wrong, if the units that are judged and the labels are drawn alike,
independently, and a verdict farther from the threshold is not wrong more often. It is spoken for
shares of units with one chip. That the threshold was chosen on the same labels is paid for by
testing at 0.05 instead of 0.1. For that there is no proof: in simulations with the share of errors
just at E, the worst case, the promise was broken in 4 to 10 % of 1,000 draws (at 0.08: 6 to 15 %).
"""

import math

import numpy as np
import numpy.typing as npt

from damagenet.card import Confidence
from damagenet.errors import EvaluationError

Floats = npt.NDArray[np.floating]
Margins = npt.NDArray[np.float64]

CERTAINTY = 0.9
"""Probability, over the draw of the calibration labels, that the share of errors is kept."""
TEST_LEVEL = 0.05
"""Risk that the tests spend; the rest of 0.1 is for a threshold chosen on the same labels."""
FIRST = 0.25
"""Share of the labels that the first test looks at."""
TESTS = 32
MOST_MARGINS = 4_000
"""Margins kept; of more, evenly spaced ones, the same share of both classes."""
DIGITS = 3
SMALLEST = 1e-12
"""Probabilities nearer to 0 or 1 are all alike."""


def confidence_curve(p: Floats, labels: npt.NDArray[np.integer], threshold: float) -> Confidence:
    """Return how far from the threshold calibration labels lie.

    Args:
        p: Calibrated probabilities of damage, (N,).
        labels: 1 damaged, 0 undamaged, (N,).
        threshold: Probability from which damage is called, inside 0..1.

    Raises:
        EvaluationError: If the shapes differ, a value is not finite, or the threshold is 0 or 1.
    """
    p, labels = np.asarray(p, np.float64), np.asarray(labels)
    if p.ndim != 1 or p.shape != labels.shape or not np.isfinite(p).all():
        raise EvaluationError(
            "probabilities and labels must be two equally long rows of numbers, got "
            f"{p.shape} and {labels.shape}"
        )
    if not 0 < threshold < 1:
        raise EvaluationError(f"a margin needs a threshold inside 0..1, got {threshold:g}")
    margins = logits(p) - logits(threshold)
    # Rounding may not turn a verdict: what lies just below the threshold stays below.
    margins = np.floor(margins * 10**DIGITS) / 10**DIGITS
    share = min(1.0, MOST_MARGINS / max(1, len(margins)))
    return Confidence(
        damaged=_thinned(margins[labels == 1], share),
        undamaged=_thinned(margins[labels == 0], share),
    )


def at_prior(confidence: Confidence, wanted: float, *, seed: int = 0) -> Confidence:
    """Return the margins as if a share `wanted` of the labels were damaged.

    Labels of the class that is too frequent are left out at random, so that what is left is a
    sample drawn at the wanted share, whose guarantee is that of any sample. Where the share is as
    wanted within one label, all stay.

    Args:
        confidence: Margins of both classes.
        wanted: Share of damaged that is wanted, inside 0..1.
        seed: Seed of the draw.
    """
    damaged, undamaged = len(confidence.damaged), len(confidence.undamaged)
    if not damaged or not undamaged or abs(damaged - wanted * (damaged + undamaged)) <= 1:
        return confidence
    ratio = wanted / (1 - wanted) * undamaged / damaged
    rng = np.random.default_rng(seed)

    def drawn(margins: tuple[float, ...], share: float) -> tuple[float, ...]:
        stays = rng.random(len(margins)) < share
        return tuple(margin for margin, kept in zip(margins, stays, strict=True) if kept)

    return Confidence(
        damaged=drawn(confidence.damaged, min(1.0, ratio)),
        undamaged=drawn(confidence.undamaged, min(1.0, 1 / ratio)),
    )


def confident_distance(
    confidence: Confidence, max_error: float, *, shift: float = 0.0
) -> float | None:
    """Return the distance from the threshold beyond which verdicts may stand.

    Args:
        confidence: Margins of the calibration labels.
        max_error: Largest share of wrong ones among them, inside 0..0.5.
        shift: Logit of the threshold that is used less that of the threshold of the margins.

    Returns:
        Half the width of the band in the logit, 0 where all may stand; None where no verdict may.
    """
    damaged = np.asarray(confidence.damaged, np.float64) - shift
    undamaged = np.asarray(confidence.undamaged, np.float64) - shift
    distance = np.abs(np.concatenate([damaged, undamaged]))
    wrong = np.concatenate([damaged < 0, undamaged >= 0])
    order = np.argsort(-distance, kind="stable")
    distance, errors = distance[order], np.cumsum(wrong[order])
    found: float | None = None
    for count in _counts(len(distance), max_error):
        # Verdicts at one distance stand or fall together.
        end = int(np.searchsorted(-distance, -distance[count - 1], side="right"))
        if _upper_limit(int(errors[end - 1]), end) > max_error:
            break
        found = 0.0 if end == len(distance) else float(distance[end - 1 : end + 1].mean())
    return found


def labels_needed(max_error: float) -> int:
    """Return how many labels without an error are needed to promise a share of errors."""
    return math.ceil(math.log(TEST_LEVEL) / math.log1p(-max_error))


def _counts(labels: int, max_error: float) -> list[int]:
    """Return how many of the farthest verdicts each test looks at."""
    first = max(labels_needed(max_error), math.ceil(FIRST * labels))
    if labels < first:
        return []
    return sorted({int(count) for count in np.linspace(first, labels, TESTS)})


def _upper_limit(errors: int, count: int) -> float:
    # Loading scipy takes a moment that no other assessment should spend.
    from scipy.stats import beta

    if errors >= count:
        return 1.0
    return float(beta.ppf(1 - TEST_LEVEL, errors + 1, count - errors))


def logits(p: npt.ArrayLike) -> Margins:
    """Return the log odds of probabilities, finite also for 0 and 1."""
    inside = np.clip(np.asarray(p, np.float64), SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _thinned(margins: Margins, share: float) -> tuple[float, ...]:
    places = np.linspace(0, len(margins) - 1, round(share * len(margins))).astype(int)
    return tuple(np.sort(margins)[places].tolist())
