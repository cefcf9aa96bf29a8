"""The totals on the first screen of `report.html`: written with the page, or put in later."""

from pathlib import Path

from damagenet.outputs.marked_place import put_in_place
from damagenet.outputs.templates import page_template
from damagenet.outputs.totals import METHODS, TOTALS_FOLDER, Totals

BEGIN, END = "<!-- totals -->", "<!-- end of totals -->"
"""Stand in every report around the place of the totals, also where there are none yet."""
SHOWN_AREAS = 8
"""Rows that fit the first screen; the others fold away below them."""


def totals_section(totals: Totals | None) -> str:
    """Return the section between its marks; nothing but the marks where there are no totals."""
    if totals is None:
        return f"{BEGIN}{END}"
    *areas, _ = totals.rows
    section = page_template("totals.html").render(
        totals=totals,
        whole=totals.whole,
        shown=areas[:SHOWN_AREAS],
        folded=areas[SHOWN_AREAS:],
        methods=METHODS,
        folder=TOTALS_FOLDER,
    )
    return f"{BEGIN}\n{section}\n{END}"


def show_in_report(path: Path, totals: Totals) -> bool:
    """Put totals into a finished report, in place of those that are there.

    The scene is not needed for it, which may lie elsewhere by now.

    Returns:
        False where the page has no place for totals: it was written by an earlier damagenet.

    Raises:
        OutputError: If the page cannot be read or written.
    """
    return put_in_place(path, totals_section(totals), begin=BEGIN, end=END)
