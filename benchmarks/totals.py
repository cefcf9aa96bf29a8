"""Whether the intervals of `damagenet summarise` hold: coverage over simulated draws of labels.

    python benchmarks/totals.py [--draws 4000] [--seed 0] [--out table.md]

In each setting a population with a fixed truth is labelled at random again and again, as a person
would do it, and it is counted how often the 95 % interval holds the truth. Settings are: the whole
run, labels drawn from all units or from each verdict; an area that borrows from the run's labels,
its units being dealt out verdict by verdict; an area with a few labels of its own; and the error
rates of a card, measured on as many damaged and undamaged units as stated.

The bars: at least 93 % everywhere; at most 97 % where 20 or more damaged labels are drawn on
average, counted as `effective` does where labels stand for unequally many units. Where the labels
have little left to vary (their number, given the verdicts drawn, by less than 3 in standard
deviation, as with 100 labels of which 95 are damaged), the total takes few values and coverage
jumps between them, so that no interval holds both bars; such rows are shown, marked `steps`, and
only the lower bar is for them. No interval may end below 0 or above N. Exits with 1 where a bar is
missed.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import beta

from damagenet.totals.error_rates import ErrorRates, Rate, no_surprise
from damagenet.totals.intervals import TAIL, Intervals, damaged_among, effective

LEAST, MOST = 0.93, 0.97
MANY_DAMAGED = 20
MANY_VALUES = 3.0
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


def rows(draws: int, seed: int) -> Iterator[Row]:
    """Yield one row for each setting."""
    rng = np.random.default_rng(seed)
    rates = (0.001, 0.01, 0.1, 0.5, 0.9)
    sizes = ((30, 20), (300, 20), (300, 100), (3000, 100), (20000, 20), (20000, 100), (20000, 400))
    for (units, labels), mix, rate in product(sizes, MIXES, rates):
        model = list(MODELS)[(list(MIXES).index(mix) + rates.index(rate)) % len(MODELS)]
        for name in dict.fromkeys(("knows nothing", model)):
            yield run_row(rng, draws, units=units, labels=labels, mix=mix, model=name, rate=rate)
    for units, mix, model, rate in product((3000, 20000), MIXES, ("good", "fair"), rates):
        yield run_row(
            rng, draws, units=units, labels=400, mix=mix, model=model, rate=rate, by_verdict=True
        )
    for part, labels, mix, rate in product((0.002, 0.02, 0.2), (20, 100, 400), MIXES, rates):
        yield area_row(
            rng, draws, units=20000, labels=labels, mix=mix, model="fair", rate=rate, part=part
        )
    for labels, mix, model, rate in product((1, 3, 8), MIXES, ("knows nothing", "fair"), rates):
        yield run_row(rng, draws, units=60, labels=labels, mix=mix, model=model, rate=rate)
    errors = ((0.9, 0.05), (0.8, 0.3), (0.99, 0.99), (0.6, 0.01), (0.95, 0.001))
    measured = ((20, 50), (70, 385), (400, 400))
    for units, (recall, alarms), n, rate in product((30, 3000, 20000), errors, measured, rates):
        yield card_row(rng, draws, units=units, rate=rate, recall=recall, alarms=alarms, measured=n)


def table(measured: list[Row]) -> str:
    """Return all rows as a Markdown table."""
    lines = [
        "| way | setting (mix, model, rate) | units | labels | damaged | drawn damaged | "
        "coverage % | mean width | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.way} | {row.setting} | {row.units} | {row.labels} | {row.truth} | {row.drawn:.1f} "
        f"| {100 * row.coverage:.1f} | {row.width:.1f} | {row.mark} |"
        for row in measured
    ]
    return "\n".join(lines)


def extremes(measured: list[Row]) -> str:
    """Return the lowest and highest coverage, by way."""
    told = []
    for way in dict.fromkeys(row.way for row in measured):
        own = [row for row in measured if row.way == way]
        lowest = min(own, key=lambda row: row.coverage)
        text = (
            f"{way}: {len(own)} settings, lowest {100 * lowest.coverage:.1f} % ({lowest.setting})"
        )
        for name, chosen in (
            ("highest with 20+ damaged labels", [row for row in own if row.judged_high]),
            ("with few values (steps)", [row for row in own if row.mark == "steps"]),
        ):
            if chosen:
                text += f", {name} {100 * max(row.coverage for row in chosen):.1f} %"
        told.append(text)
    return "\n".join(told)


def main() -> None:
    """Measure, print, and exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--draws", type=int, default=4000, help="draws of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Markdown file for the table, else stdout")
    arguments = parser.parse_args()
    measured = list(rows(arguments.draws, arguments.seed))
    if arguments.out:
        arguments.out.write_text(table(measured) + "\n", encoding="utf-8")
    else:
        print(table(measured))
    missed = [row for row in measured if not row.passed]
    print(extremes(measured))
    print(f"{len(measured)} settings, {arguments.draws} draws each, {len(missed)} miss a bar")
    for row in missed:
        print(f"  {row.way}, {row.setting}, {row.units} units, {row.labels}: {row.coverage:.4f}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
