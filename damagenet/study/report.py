"""The reports of a study: `summary.csv`, `study.md`, `study.html`, made from the rows alone."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from damagenet.outputs.atomic import appears
from damagenet.study.page import make_page
from damagenet.study.remarks import headline, remarks
from damagenet.study.statistics import Difference, Range
from damagenet.study.summary import SCORES, Cost, Outcome, SplitSummary, StudySummary
from damagenet.study.tables import TextTable, more_tables, split_table

TABLE_FILE = "summary.csv"
MARKDOWN_FILE = "study.md"
PAGE_FILE = "study.html"


def write_reports(folder: Path, summary: StudySummary) -> list[Path]:
    """Write the summary as CSV, Markdown and HTML page; return the files.

    Raises:
        OutputError: If one cannot be written.
    """
    texts = {
        TABLE_FILE: summary_csv(summary),
        MARKDOWN_FILE: summary_markdown(summary),
        PAGE_FILE: make_page(summary),
    }
    for name, text in texts.items():
        with appears(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def summary_markdown(summary: StudySummary) -> str:
    """Return tables and remarks, to be read as they are or put into a page of the docs."""
    parts = []
    for split in summary.splits:
        parts += [f"### {split.split}", headline(split, summary.baseline)]
        parts += [markdown_table(split_table(split, summary.baseline))]
    for table in more_tables(summary):
        parts += [f"### {table.title}", markdown_table(table)]
    parts += ["### How to read this", "\n".join(f"- {line}" for line in remarks(summary))]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: TextTable) -> str:
    """Return a table in Markdown."""
    places = range(len(table.headings))
    lines = [
        table.headings,
        tuple("---:" if table.is_number(place) else "---" for place in places),
        *table.rows,
    ]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in cells)} |" for cells in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("*", "\\*")


def summary_csv(summary: StudySummary) -> str:
    """Return one line per split and variant, shares as 0..1."""
    costs = {cost.variant: cost for cost in summary.costs}
    lines = [
        dict(_columns(split, outcome, costs[outcome.variant]))
        for split in summary.splits
        for outcome in split.outcomes
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _columns(split: SplitSummary, one: Outcome, cost: Cost) -> Iterator[tuple[str, object]]:
    yield from (("split", split.split), ("variant", one.variant), ("settings", one.settings))
    yield from (("lr", _text(one.lr)), ("done", one.done), ("failed", one.failed))
    yield "missing", one.missing
    for name in SCORES:
        mean = one.scores.get(name)
        yield name, _text(mean.value if mean else None)
        yield from _ends(name, mean.interval if mean else None)
    yield from (("compared", split.score), ("against", one.against or ""))
    yield from _compared(one.difference)
    yield "verdict", one.verdict
    yield "budget", _text(cost.budget)
    for name in ("seconds_per_epoch", "relative_time", "peak_mb", "saved_mb", "parameters"):
        yield name, _text(getattr(cost, name))


def _compared(difference: Difference | None) -> Iterator[tuple[str, object]]:
    yield "difference", _text(difference.mean if difference else None)
    yield from _ends("difference", difference.interval if difference else None)
    yield from _ends("simultaneous", difference.simultaneous if difference else None)
    yield "p", _text(difference.p if difference else None)
    yield "p_holm", _text(difference.p_holm if difference else None)


def _ends(name: str, interval: Range | None) -> Iterator[tuple[str, str]]:
    yield f"{name}_low", _text(interval.low if interval else None)
    yield f"{name}_high", _text(interval.high if interval else None)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
