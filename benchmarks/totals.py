"""Whether the intervals of `damagenet summarise` hold: coverage over simulated draws of labels.

    python benchmarks/totals.py [--draws 4000] [--seed 0] [--out table.md]

In each setting a population with a fixed truth is labelled at random again and again, as a person
would do it, and it is counted how often the 95 % interval holds the truth. Settings are: the whole
run, labels drawn from all units or from each verdict; an area that borrows from the run's labels,
its units being dealt out verdict by verdict; areas that differ as clustered damage does, each
counted from those of the run's labels that lie in it; two to seven labels, drawn from strata of
hundreds of units or from each verdict; and the error rates of a card, measured on as
many damaged and undamaged units as stated.

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
from itertools import product
from pathlib import Path

import numpy as np
from totals_simulation import MIXES, MODELS, Row, area_row, card_row, own_rows, run_row


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
    for labels, mix, rate in product((2, 3, 4, 7), MIXES, (0.1, 0.3, 0.5, 0.7, 0.9)):
        yield run_row(
            rng, draws, units=1000, labels=labels, mix=mix, model="knows nothing", rate=rate
        )
    for labels, rate in product((2, 4, 6), (0.1, 0.3, 0.5, 0.7, 0.9)):
        yield run_row(
            rng, draws, units=2000, labels=labels, mix="halves", model="knows nothing", rate=rate,
            by_verdict=True,
        )  # fmt: skip
    for labels, mix, rate in product((40, 400), MIXES, (0.01, 0.1, 0.5)):
        yield from own_rows(rng, draws, labels=labels, mix=mix, model="fair", rate=rate)
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
