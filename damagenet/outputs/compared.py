"""What other scenes of a run say of one scene's buildings: in `report.html` and `summary.json`."""

from pathlib import Path

from damagenet.config import Settings
from damagenet.outputs.marked_place import put_in_place
from damagenet.outputs.templates import page_template

BEGIN, END = "<!-- other scenes -->", "<!-- end of other scenes -->"
"""Stand in every report around the place of the comparison, also where there is none."""


class Compared(Settings):
    """What the other scenes of a run say of the buildings of one scene."""

    shared: int
    """Buildings that have a verdict, damaged or undamaged, here and on another scene."""
    disagree: int
    """Of these, how many another scene calls otherwise."""
    listed: tuple[str, ...] = ()
    """Ids of these, the first of them where there are many."""


def compared_section(compared: Compared | None) -> str:
    """Return the section between its marks; nothing but the marks without a shared building."""
    if compared is None or not compared.shared:
        return f"{BEGIN}{END}"
    section = page_template("compared.html").render(compared=compared)
    return f"{BEGIN}\n{section}\n{END}"


def show_compared(page: Path, compared: Compared | None) -> bool:
    """Put the comparison into a finished report; False where it has no place for it.

    Raises:
        OutputError: If the page cannot be read or written.
    """
    return put_in_place(page, compared_section(compared), begin=BEGIN, end=END)
