"""The report over networks: `transfer.md`, `transfer.csv` and `transfer.json`."""

import csv
import io
import math
from pathlib import Path
from statistics import NormalDist, correlation, mean

from pydantic import Field

from damagenet.config import Settings, make_settings
from damagenet.errors import DataError
from damagenet.outputs.atomic import appears
from damagenet.transfer.outcome import Outcome, log_odds

JSON_FILE = "transfer.json"
MARKDOWN_FILE = "transfer.md"
TABLE_FILE = "transfer.csv"
FEWEST = 3
"""Networks that a correlation is made of at least."""
Z = NormalDist().inv_cdf(0.975)


class Correlation(Settings):
    """How log odds on the tiles follow those on ImageNet, over the networks of one comparison."""

    r: float | None
    """Pearson's; None where it does not exist."""
    low: float | None = None
    """Ends of the 95 % interval by Fisher's transformation, from four networks on."""
    high: float | None = None
    networks: int
    """Networks with both figures."""
    note: str = ""


class Report(Settings):
    """All outcomes of a folder, and what they say together."""

    outcomes: tuple[Outcome, ...] = ()
    correlations: dict[str, Correlation] = Field(default_factory=dict)
    """By comparison."""


def read_report(out: Path) -> Report:
    """Return the report of a folder; an empty one where there is none yet.

    Raises:
        DataError: If it cannot be read.
    """
    path = out / JSON_FILE
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return make_settings(Report, {})
    except (OSError, ValueError) as err:
        raise DataError(f"cannot read {path}: {err}; delete it and run the command again") from err


def with_outcome(report: Report, new: Outcome) -> Report:
    """Return a report with one more outcome, in the place of the same network's."""
    same = (new.comparison, new.network, new.weights)
    kept = [old for old in report.outcomes if (old.comparison, old.network, old.weights) != same]
    outcomes = sorted(
        [*kept, new], key=lambda one: (one.protocol, one.split, one.comparison, -one.accuracy)
    )
    return Report(
        outcomes=tuple(outcomes),
        correlations={key: correlate(group) for key, group in comparisons(outcomes).items()},
    )


def comparisons(outcomes: list[Outcome] | tuple[Outcome, ...]) -> dict[str, list[Outcome]]:
    """Return the outcomes that may be compared, by their comparison."""
    found: dict[str, list[Outcome]] = {}
    for one in outcomes:
        found.setdefault(one.comparison, []).append(one)
    return found


def relative_log_odds(group: list[Outcome]) -> list[float | None]:
    """Return the log odds of each network minus their mean over the networks that have them."""
    odds = [one.log_odds for one in group]
    known = [value for value in odds if value is not None]
    return [None if value is None else value - mean(known) for value in odds]


def correlate(group: list[Outcome]) -> Correlation:
    """Return the correlation over the networks of one comparison."""
    pairs = [
        (here, there)
        for one in group
        if (here := one.log_odds) is not None
        and one.imagenet_top1 is not None
        and (there := log_odds(one.imagenet_top1, 1 - one.imagenet_top1)) is not None
    ]
    count = len(pairs)
    if count < FEWEST:
        note = f"{count} networks with a known ImageNet accuracy: a correlation needs {FEWEST}"
        return Correlation(r=None, networks=count, note=note)
    ours, theirs = zip(*pairs, strict=True)
    if len(set(ours)) == 1 or len(set(theirs)) == 1:
        return Correlation(r=None, networks=count, note="all networks are alike")
    r = correlation(ours, theirs)
    if count == FEWEST or abs(r) >= 1:
        return Correlation(r=r, networks=count, note="too few networks for an interval")
    half = Z / math.sqrt(count - 3)
    low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return Correlation(r=r, low=low, high=high, networks=count)


def write_report(out: Path, report: Report) -> list[Path]:
    """Write the report as JSON, CSV and Markdown; return the files.

    Raises:
        OutputError: If one cannot be written.
    """
    texts = {
        JSON_FILE: report.model_dump_json(indent=2) + "\n",
        TABLE_FILE: report_csv(report),
        MARKDOWN_FILE: report_markdown(report),
    }
    for name, text in texts.items():
        with appears(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [out / name for name in texts]


def report_csv(report: Report) -> str:
    """Return one line for each outcome."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*Outcome.model_fields, "accuracy", "log_odds", "relative_log_odds"])
    for group in comparisons(report.outcomes).values():
        for one, relative in zip(group, relative_log_odds(group), strict=True):
            writer.writerow(
                "" if value is None else value
                for value in (*one.model_dump().values(), one.accuracy, one.log_odds, relative)
            )
    return stream.getvalue()


HEADINGS = (
    "network",
    "ImageNet top-1, %",
    "chosen",
    "points",
    "validation, %",
    "accuracy, %",
    "balanced accuracy, %",
    "log odds",
    "minus mean",
)


def report_markdown(report: Report) -> str:
    """Return a table for each comparison, with the correlation below it."""
    parts = []
    for key, group in comparisons(report.outcomes).items():
        rows = [
            _cells(one, relative)
            for one, relative in zip(group, relative_log_odds(group), strict=True)
        ]
        rule = ["---", *["--:"] * (len(HEADINGS) - 1)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in (HEADINGS, rule, *rows))
        parts += [_title(group[0], key), table, _correlation_in_words(report.correlations[key])]
    return "\n\n".join([*parts, HOW_TO_READ]) + "\n"


HOW_TO_READ = (
    "Points are chosen on validation, by the score named above; of the test only the chosen one is "
    "read, with verdicts at logit 0. Log odds are log(right / wrong), as in arXiv:1805.08974. "
    "Compare networks within one table only, where tiles and training are the same."
)


def _title(one: Outcome, key: str) -> str:
    budget = "" if one.steps is None else f", {one.steps} steps of {one.batch_size}"
    return (
        f"### {one.protocol}, {one.split}, {one.tiles:,} training tiles{budget}\n\n"
        f"Test: {one.n:,} tiles. Validation score: {one.select_on}. Comparison {key}."
    )


def _cells(one: Outcome, relative: float | None) -> tuple[str, ...]:
    chosen = f"L2 {one.l2:.3g}" if one.lr is None else f"lr {one.lr:.3g}, decay {one.decay:.3g}"
    stuck = f", {one.not_converged} not converged" if one.not_converged else ""
    loss = one.select_on == "loss"
    return (
        one.network,
        "not known" if one.imagenet_top1 is None else f"{100 * one.imagenet_top1:.1f}",
        chosen,
        f"{one.points} of {one.of_points}{stuck}",
        f"loss {one.validation:.3f}" if loss else f"{100 * one.validation:.1f}",
        f"{100 * one.accuracy:.1f}",
        f"{100 * one.balanced_accuracy:.1f}",
        "all alike" if one.log_odds is None else f"{one.log_odds:.2f}",
        "-" if relative is None else f"{relative:+.2f}",
    )


def _correlation_in_words(found: Correlation) -> str:
    if found.r is None:
        return f"No correlation with ImageNet: {found.note}."
    interval = (
        f"95 % interval {found.low:.2f} to {found.high:.2f}"
        if found.low is not None and found.high is not None
        else found.note
    )
    return (
        f"Correlation of log odds with those on ImageNet over {found.networks} networks: "
        f"{found.r:.2f} ({interval})."
    )
