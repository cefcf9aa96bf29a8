"""`points.csv`: what every point of every grid gave on validation, one row each."""

import csv
from pathlib import Path
from typing import Literal

from damagenet.config import Settings, make_settings
from damagenet.errors import ConfigError, DataError
from damagenet.outputs.atomic import appears

POINTS_FILE = "points.csv"


class Row(Settings):
    """One point: what was set, and the validation score that it is chosen by."""

    group: str
    """Hash over network, tiles and training, 12 digits; points of one grid share it."""
    protocol: str
    split: str
    network: str
    lr: float | None = None
    decay: float | None = None
    """Weight decay times learning rate."""
    l2: float | None = None
    select_on: str
    score: float | None = None
    """None where the training diverged."""
    converged: bool | None = None
    """Whether the solver of a probe came to its end; None for trainings in steps."""
    steps: int | None = None
    status: Literal["ok", "failed"] = "ok"
    reason: str = ""
    seconds: float | None = None
    date: str

    @property
    def point(self) -> tuple[str, float | None, float | None, float | None]:
        """What makes it another point."""
        return self.group, self.lr, self.decay, self.l2


def read_rows(out: Path) -> list[Row]:
    """Return the rows of a folder; none where there is no table yet.

    Raises:
        DataError: If the table cannot be read, naming the line.
    """
    path = out / POINTS_FILE
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"cannot read {path}: {err}") from err
    return [_read(values, f"{path} line {number}") for number, values in enumerate(lines, start=2)]


def add_rows(out: Path, rows: list[Row]) -> None:
    """Add rows to the table of a folder, in the place of those of the same points.

    Raises:
        DataError: If the table cannot be read.
        OutputError: If it cannot be written.
    """
    new = {row.point for row in rows}
    kept = [row for row in read_rows(out) if row.point not in new]
    with (
        appears(out / POINTS_FILE) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row.model_fields)
        for row in (*kept, *rows):
            writer.writerow("" if value is None else value for value in row.model_dump().values())


def _read(values: dict[str, str], source: str) -> Row:
    try:
        return make_settings(Row, {name: text for name, text in values.items() if text != ""})
    except (ConfigError, TypeError) as err:
        raise DataError(f"{source} is no point of a grid: {err}; mend or delete it") from err
