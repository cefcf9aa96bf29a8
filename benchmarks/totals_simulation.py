"""Simulated draws of labels, setting by setting, for `totals.py`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from damagenet.totals.error_rates import ErrorRates, Rate, no_surprise
from damagenet.totals.intervals import TAIL, Intervals, damaged_among, effective

LEAST, MOST = 0.93, 0.97
MANY_DAMAGED = 20
MANY_VALUES = 3.0
AREAS, AREA_UNITS, ALIKENESS = 8, 200, 0.3
TRIED = 201
"""Numbers of damaged units between 0 and N at which the ends of a card's interval are sought."""

MIXES = {
    "one verdict": (1.0, 0.0, 0.0, 0.0),
    "halves": (0.5, 0.5, 0.0, 0.0),
    "four verdicts": (0.25, 0.6, 0.1, 0.05),
    "rarely flagged": (0.02, 0.9, 0.05, 0.03),
    "many not judged": (0.3, 0.3, 0.1, 0.3),
}
"""Shares of units called damaged, undamaged, uncertain, not judged."""
MODELS = {
    "knows nothing": (1.0, 1.0, 1.0, 1.0),
    "good": (1.0, 0.02, 0.3, 0.2),
    "fair": (1.0, 0.2, 0.6, 0.4),
    "never misses": (1.0, 0.0, 0.0, 0.0),
}
"""Damaged share of each verdict, as a multiple of the rate."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured in one setting."""

    way: str
    setting: str
    units: int
    labels: str
    truth: int
    drawn: float
    spread: float
    coverage: float
    width: float
    inside: bool

    @property
    def judged_high(self) -> bool:
        """Whether the upper bar is for it."""
        return self.drawn >= MANY_DAMAGED and self.spread >= MANY_VALUES

    @property
    def passed(self) -> bool:
        """Whether every bar is held."""
        high = not self.judged_high or self.coverage <= MOST
        return self.inside and self.coverage >= LEAST and high

    @property
    def mark(self) -> str:
        """What the table says of it."""
        steps = self.drawn >= MANY_DAMAGED and not self.judged_high
        return (
            "MISSED" if not self.passed else "steps" if steps else "20+" if self.judged_high else ""
        )


def population(units: int, mix: str, model: str, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return units and damaged units of each verdict, int64 (4,)."""
    sizes = np.floor(np.array(MIXES[mix]) * units).astype(int)
    sizes[0] += units - sizes.sum()
    return sizes, np.round(sizes * rate * np.array(MODELS[model])).astype(int)


def drawn_labels(
    rng: np.random.Generator, sizes: np.ndarray, damaged: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return how many of the labels of each verdict are damaged (draws, 4)."""
    return rng.hypergeometric(damaged, sizes - damaged, labels)


def run_row(
    rng: np.random.Generator, draws: int, *, units: int, labels: int, mix: str, model: str,
    rate: float, by_verdict: bool = False,
) -> Row:  # fmt: skip
    """Measure the whole run; `by_verdict` draws equally many from each verdict."""
    sizes, damaged = population(units, mix, model, rate)
    if by_verdict:
        n = np.tile(np.minimum(labels // np.count_nonzero(sizes), sizes), (draws, 1))
    else:
        n = rng.multivariate_hypergeometric(sizes, labels, size=draws)
    x = drawn_labels(rng, sizes, damaged, n)
    found = damaged_among(sizes - n, n, x)
    truth = damaged.sum() - x.sum(axis=1)
    way = "by verdict" if by_verdict else "run"
    return _row(
        way, f"{mix}, {model}, {rate}", units, f"{labels}", damaged, n, x, found, truth, sizes
    )


def area_row(
    rng: np.random.Generator, draws: int, *, units: int, labels: int, mix: str, model: str,
    rate: float, part: float,
) -> Row:  # fmt: skip
    """Measure an area with this part of the run's units, which borrows from all labels."""
    sizes, damaged = population(units, mix, model, rate)
    inside = np.round(sizes * part).astype(int)
    hit = rng.hypergeometric(damaged, sizes - damaged, np.tile(inside, (draws, 1)))
    n = rng.multivariate_hypergeometric(sizes, labels, size=draws)
    n_inside = rng.hypergeometric(inside, sizes - inside, n)
    x_inside = rng.hypergeometric(hit, inside - hit, n_inside)
    x = x_inside + rng.hypergeometric(damaged - hit, sizes - inside - (damaged - hit), n - n_inside)
    found = damaged_among(inside - n_inside, n, x)
    truth = (hit - x_inside).sum(axis=1)
    setting = f"{mix}, {model}, {rate}, {inside.sum()} units"
    # What the area itself holds in labels decides how many values its total can take.
    return _row(
        "area", setting, units, f"{labels}", damaged, n_inside, x_inside, found, truth, inside
    )


def own_rows(
    rng: np.random.Generator, draws: int, *, labels: int, mix: str, model: str, rate: float
) -> Iterator[Row]:
    """Measure AREAS areas of AREA_UNITS units whose rates differ (beta, correlation ALIKENESS)."""
    spread = 1 / ALIKENESS - 1
    rates = rng.beta(rate * spread, (1 - rate) * spread, AREAS)
    sizes, damaged = np.stack([population(AREA_UNITS, mix, model, own) for own in rates], axis=1)
    n = rng.multivariate_hypergeometric(sizes.ravel(), labels, size=draws)
    for area, own in enumerate(np.moveaxis(n.reshape(draws, AREAS, -1), 1, 0)):
        x = drawn_labels(rng, sizes[area], damaged[area], own)
        found = damaged_among(sizes[area] - own, own, x)
        truth = damaged[area].sum() - x.sum(axis=1)
        setting = f"{mix}, {model}, {rate}, here {rates[area]:.3f}"
        yield _row(
            "own",
            setting,
            AREA_UNITS,
            f"{labels}",
            damaged[area],
            own,
            x,
            found,
            truth,
            sizes[area],
        )


def _row(  # noqa: PLR0917
    way: str,
    setting: str,
    units: int,
    labels: str,
    damaged: np.ndarray,
    n: np.ndarray,
    x: np.ndarray,
    found: Intervals,
    truth: np.ndarray,
    sizes: np.ndarray,
) -> Row:
    share = np.divide(damaged, np.maximum(sizes, 1)).clip(0, 1)
    rest = np.divide(sizes - n, np.maximum(sizes, 1))
    weight = np.divide(sizes, np.maximum(n, 1))
    # Weighted by what each verdict adds to the variance, as degrees of freedom are (Satterthwaite).
    spread = float(np.sqrt(effective(weight**2, n * share * (1 - share) * rest).mean()))
    return Row(
        way=way,
        setting=setting,
        units=units,
        labels=labels,
        truth=int(damaged.sum()),
        drawn=float(effective(weight, x).mean()),
        spread=spread,
        coverage=float(np.mean((found.low <= truth) & (truth <= found.high))),
        width=float(np.mean(found.high - found.low)),
        inside=bool((found.low >= 0).all() and (found.high <= (sizes - n).sum(axis=1)).all()),
    )


def card_row(
    rng: np.random.Generator, draws: int, *, units: int, rate: float, recall: float, alarms: float,
    measured: tuple[int, int],
) -> Row:  # fmt: skip
    """Measure an interval from rates that were measured elsewhere."""
    damaged = round(units * rate)
    rates = ErrorRates(
        recall=_rates(rng.binomial(measured[0], recall, draws), measured[0]),
        alarms=_rates(rng.binomial(measured[1], alarms, draws), measured[1]),
    )
    flags = rng.binomial(damaged, recall, draws) + rng.binomial(units - damaged, alarms, draws)
    tried = np.linspace(0, units, min(TRIED, units + 1))
    held = np.stack([no_surprise(np.float64(one), flags, units, rates) for one in tried])
    return Row(
        way="card",
        setting=f"recall {recall}, false alarms {alarms}, {rate}",
        units=units,
        labels=f"{measured[0]} + {measured[1]}",
        truth=damaged,
        drawn=0.0,
        spread=0.0,
        coverage=float(no_surprise(np.float64(damaged), flags, units, rates).mean()),
        width=float(_reach(held, tried).mean()),
        inside=True,
    )


def _rates(hits: np.ndarray, n: int) -> Rate:
    """Return many rates with their exact intervals at once."""
    low = np.where(hits == 0, 0.0, beta.ppf(TAIL, hits, n - hits + 1))
    high = np.where(hits == n, 1.0, beta.ppf(1 - TAIL, hits + 1, n - hits))
    return Rate(value=hits / n, low=low, high=high, n=n)


def _reach(held: np.ndarray, tried: np.ndarray) -> np.ndarray:
    first, last = held.argmax(axis=0), held.shape[0] - 1 - held[::-1].argmax(axis=0)
    return np.where(held.any(axis=0), tried[last] - tried[first], tried[-1])
