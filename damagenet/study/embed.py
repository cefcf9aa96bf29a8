"""The results of a study inside a page that is written by hand, between two marks."""

from pathlib import Path

from damagenet.errors import ConfigError
from damagenet.outputs.atomic import appears
from damagenet.study.remarks import headline, remarks
from damagenet.study.report import markdown_table
from damagenet.study.summary import Outcome, SplitSummary, StudySummary
from damagenet.study.tables import (
    NONE,
    TextTable,
    difference_heading,
    difference_text,
    heading,
    score_text,
)

FIRST_REMARKS = 2
"""How many runs there are, and what each of them was."""


def read_page(path: Path, name: str) -> tuple[str, str]:
    """Return what stands before and behind the results of a study in a Markdown page.

    Both ends hold their mark, `<!-- study NAME -->` and `<!-- end of study NAME -->`.

    Raises:
        ConfigError: If the page cannot be read, or lacks a mark.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"--into {path}: cannot read it ({err}): name a Markdown page") from err
    first, last = f"<!-- study {name} -->\n", f"<!-- end of study {name} -->\n"
    before, begun, rest = text.partition(first)
    _, ended, behind = rest.partition(last)
    if not begun or not ended:
        raise ConfigError(
            f"--into {path}: put the lines {first.strip()} and {last.strip()} where the results "
            "shall stand"
        )
    return before + first, last + behind


def write_into(path: Path, summary: StudySummary) -> None:
    """Put the results of a study between its marks in a Markdown page; the rest stays.

    Raises:
        ConfigError: As `read_page`.
        OutputError: If it cannot be written.
    """
    before, behind = read_page(path, summary.name)
    with appears(path) as partial:
        partial.write_text(f"{before}\n{results_markdown(summary)}\n{behind}", encoding="utf-8")


def results_markdown(summary: StudySummary) -> str:
    """Return one line per variant with what it gave on every split, and what the runs were."""
    said = " ".join(remarks(summary)[:FIRST_REMARKS])
    claims = [f"- {split.split}: {headline(split, summary.baseline)}" for split in summary.splits]
    return "\n\n".join([said, markdown_table(results_table(summary)), "\n".join(claims)]) + "\n"


def results_table(summary: StudySummary) -> TextTable:
    """Return all variants in the order of the settings, the splits side by side."""
    places = [{one.variant: one for one in split.outcomes} for split in summary.splits]
    headings = ["variant", "set"]
    for split in summary.splits:
        headings += [f"{split.split}: {heading(split.score)}", _minus(split, summary.baseline)]
    rows = tuple(
        (
            cost.variant,
            cost.settings or NONE,
            *(
                cell
                for split, outcomes in zip(summary.splits, places, strict=True)
                for cell in _cells(split, outcomes[cost.variant])
            ),
            " / ".join(str(outcomes[cost.variant].done) for outcomes in places),
            NONE if cost.parameters is None else f"{cost.parameters:,d}",
            NONE if cost.seconds_per_epoch is None else f"{cost.seconds_per_epoch:.0f}",
            NONE if cost.budget is None else f"{cost.budget:.3g}",
        )
        for cost in summary.costs
    )
    return TextTable(
        title="what each variant gave",
        headings=(*headings, "seeds", "parameters", "s / epoch", "budget"),
        rows=rows,
        left=("set",),
    )


def _minus(split: SplitSummary, baseline: str) -> str:
    return f"{split.split}: {difference_heading(split, baseline)}"


def _cells(split: SplitSummary, one: Outcome) -> tuple[str, str]:
    difference = difference_text(one.difference)
    if one.difference is not None:
        difference += f", {one.verdict}"
        if len(split.bases) > 1:
            difference += f" (base {one.against})"
    return score_text(split.score, one.scores.get(split.score)), difference
