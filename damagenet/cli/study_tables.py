"""The summary of a study as tables on the terminal."""

import sys

from rich.console import Console
from rich.table import Table

from damagenet.study.remarks import headline, remarks
from damagenet.study.summary import StudySummary
from damagenet.study.tables import TextTable, more_tables, split_table

WIDE = 180
"""Columns where stdout is a file; a terminal keeps its own width."""


def print_summary(summary: StudySummary) -> None:
    """Print tables and remarks to stdout."""
    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, highlight=False)
    for split in summary.splits:
        _print_table(console, split_table(split, summary.baseline))
        console.print(headline(split, summary.baseline), soft_wrap=True)
    for table in more_tables(summary):
        _print_table(console, table)
    for line in remarks(summary):
        console.print(line, soft_wrap=True)


def _print_table(console: Console, text: TextTable) -> None:
    table = Table()
    for place, name in enumerate(text.headings):
        table.add_column(name, justify="right" if text.is_number(place) else "left")
    for row in text.rows:
        # The interval below its figure, so that a terminal has room for all columns.
        table.add_row(*(cell.replace(" (", "\n(") for cell in row))
    console.print(text.title, soft_wrap=True)
    console.print(table)
