"""`totals.json`: damaged units per area with their intervals, and what stands behind them."""

from pathlib import Path
from typing import Literal

from damagenet.config import Settings
from damagenet.errors import OutputError

TOTALS_FOLDER = "totals"
TOTALS_FILE = "totals.json"

Situation = Literal["random-labels", "card-rates", "no-rates"]
Method = Literal["random-labels", "own-labels", "card-rates", "no-rates", "no-units"]

HEADLINES: dict[Situation, str] = {
    "random-labels": "Calibrated for this event with labels drawn at random",
    "card-rates": "Not calibrated for this event",
    "no-rates": "Not calibrated: nobody measured how often the model errs",
}
"""What a reader must know of the totals first, by situation."""

METHODS: dict[Method, str] = {
    "random-labels": "from the random labels of the whole run, verdict by verdict",
    "own-labels": "from the random labels inside the area alone",
    "card-rates": "from the error rates on the model's card",
    "no-rates": "only what is labelled is known",
    "no-units": "no unit lies in it",
}
"""Where a row's interval comes from, by method."""


class AreaTotal(Settings):
    """How many units of one area are damaged."""

    scope: Literal["area", "outside", "all"]
    """An area of the file; all units in no area; or the whole run."""
    area: str
    """Id of the area; `(in no area)` and `(whole run)` for the other scopes."""
    estimate: float | None
    """Damaged units, one decimal, within low..high; None where the rates tell nothing."""
    low: int
    """Lower end of the 95 % interval, at least 0."""
    high: int
    """Upper end, at most `units`."""
    units: int
    """All units whose centre lies in the area, judged or not."""
    flagged: int
    """Units called damaged."""
    undamaged: int
    uncertain: int
    not_judged: int
    labelled_random: int
    """Units with a label that was drawn at random."""
    labelled_random_damaged: int
    labelled_otherwise: int
    """Units with another label; it is known truth and no part of the sample."""
    method: Method


class Totals(Settings):
    """The keys of `totals.json`; they stay, later versions only add."""

    format_version: Literal[1] = 1
    situation: Situation
    headline: str
    sentence: str
    """The whole run's total in one sentence."""
    guarantee: str
    """When the intervals hold, and what is missing where they may not."""
    notes: tuple[str, ...]
    """What else must be said: labels that match nothing, units in no area, and the like."""
    kind: str
    """building or cell"""
    model: str
    results: Path
    areas: Path | None
    labels: Path | None
    rows: tuple[AreaTotal, ...]
    """The areas in the order of their file, then `outside` where units lie in none, then `all`."""
    assessments: tuple[str, ...]
    """Keys of the assessments that were counted; see `summary.json`."""
    created: str
    """ISO 8601, UTC."""
    damagenet: str
    """Version of damagenet."""

    @property
    def whole(self) -> AreaTotal:
        """The row of the whole run."""
        return self.rows[-1]


def read_totals(folder: Path, key: str) -> Totals | None:
    """Return the totals of a scene's folder, or of the run around it.

    Args:
        folder: The scene's folder.
        key: Key of its assessment; totals that were made of other verdicts are not its own.

    Raises:
        OutputError: If the file is there and cannot be understood.
    """
    for place in (folder, folder.parent):
        path = place / TOTALS_FOLDER / TOTALS_FILE
        if path.is_file() and key in (found := _parsed(path)).assessments:
            return found
    return None


def _parsed(path: Path) -> Totals:
    try:
        return Totals.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise OutputError(
            f"{path} holds no totals of damagenet: remove it, or summarise again with --overwrite"
        ) from err
