"""The rows of a study on disk: one line per run in `runs.csv`, all that is needed to go on."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from damagenet.config import Settings, make_settings
from damagenet.errors import ConfigError, DataError
from damagenet.outputs.atomic import appears, unwritable

ROWS_FILE = "runs.csv"
LOCKS = ".locks"
PATIENCE_S = 0.5
EARLIER_NAMES = {"activation": "variant", "function": "settings"}
"""Columns of files from before anything but activations could be compared."""


class Row(Settings):
    """What one run was, and what came out; a failed run has a reason instead of scores."""

    key: str
    """Hash over all that shapes the scores; see `damagenet.study.plan.run_key`."""
    variant: str
    """Label in the study."""
    settings: str = ""
    """What it has otherwise than the study's recipe; of an activation, name and parameters."""
    split: str
    seed: int
    lr: float
    stage: Literal["lr", "study"]
    """For which purpose it was run first; the best run of stage lr counts in the study too."""
    status: Literal["ok", "failed"]
    reason: str = ""
    """Why it failed."""
    select_on: str
    """Validation score that chose the epoch and chooses the learning rate."""
    validation: float | None = None
    """That score at the chosen epoch."""
    accuracy: float | None = None
    """On the test part, 0..1; likewise the next four."""
    balanced_accuracy: float | None = None
    auroc: float | None = None
    brier: float | None = None
    calibration_error: float | None = None
    epochs: int
    """How often the training went through its tiles."""
    best_epoch: int | None = None
    """Counted from 1."""
    tiles: int
    """Training tiles."""
    steps: int
    """Training steps in all."""
    seconds_per_epoch: float | None = None
    """Median over the epochs, training and validation; None for a single epoch. On a CPU it is
    processor time, which other programs hardly change, on a GPU the time of day."""
    seconds: float
    """The whole run."""
    threads: int
    peak_mb: float | None = None
    """Highest resident memory of the process while training (1e6 bytes); on a GPU, of the GPU."""
    saved_mb: float | None = None
    """What autograd keeps for the backward pass of one batch (1e6 bytes)."""
    parameters: int | None = None
    """Trainable parameters of the network."""
    hardware: str
    date: str
    """ISO 8601, UTC."""
    damagenet: str
    torch: str
    data: str
    """Fingerprint of the tiles."""

    @property
    def passes(self) -> int:
        """Tiles that were trained on, every epoch counted: the budget of the run."""
        return self.tiles * self.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFolder:
    """Where a study lives; several processes may work in it at the same time.

    Attributes:
        out: Holds `runs.csv` and the reports.
        work: Gets weights, checkpoints and logs while a run lasts.
    """

    out: Path
    work: Path

    def rows(self) -> list[Row]:
        """Return all rows, sorted.

        Raises:
            DataError: If `runs.csv` cannot be read, naming the line.
        """
        path = self.out / ROWS_FILE
        if not path.exists():
            return []
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                return [
                    _read_row(values, f"{path} line {number}")
                    for number, values in enumerate(csv.DictReader(stream), start=2)
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as err:
            raise DataError(f"cannot read {path}: {err}") from err

    def add(self, row: Row) -> None:
        """Add a row, or replace the one with the same key; nothing else is lost on the way.

        Raises:
            OutputError: If the file cannot be written.
        """
        with FileLock(self._lock("rows")):
            others = [other for other in self.rows() if other.key != row.key]
            _write(self.out / ROWS_FILE, [*others, row])

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Yield whether this process alone may do a run, until the block ends or the process.

        The claim is a lock of the operating system, so that a killed process leaves none.
        """
        # Somebody may hold it for a moment, only to look.
        with self._locked(key, patience_s=PATIENCE_S) as mine:
            yield mine

    def is_free(self, key: str) -> bool:
        """Whether nobody is doing a run just now."""
        with self._locked(key, patience_s=0) as free:
            return free

    @contextmanager
    def _locked(self, key: str, *, patience_s: float) -> Iterator[bool]:
        lock = FileLock(self._lock(key))
        try:
            lock.acquire(timeout=patience_s)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def work_place(self, key: str) -> Path:
        """Return the folder for weights and logs of one run."""
        return _hidden(self.work) / key

    def _lock(self, name: str) -> Path:
        return _hidden(self.out / LOCKS) / f"{name}.lock"


def _hidden(folder: Path) -> Path:
    """Make a folder that stays out of the repository in which the rows may lie."""
    mark = folder / ".gitignore"
    try:
        if not mark.exists():
            folder.mkdir(parents=True, exist_ok=True)
            mark.write_text("*\n", encoding="utf-8")
    except OSError as err:
        raise unwritable(folder, err) from err
    return folder


def _read_row(values: dict[str, str], source: str) -> Row:
    try:
        named = {EARLIER_NAMES.get(name, name): text for name, text in values.items()}
        return make_settings(Row, {name: text for name, text in named.items() if text != ""})
    except (ConfigError, TypeError) as err:
        raise DataError(f"{source} is no row of a study: {err}; mend or delete the line") from err


def _write(path: Path, rows: Iterable[Row]) -> None:
    # Sorted by what they are, so that the rows of two machines merge and differ by whole lines.
    ordered = sorted(rows, key=lambda row: (row.variant, row.split, row.seed, row.lr, row.key))
    with appears(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Row.model_fields)
        for row in ordered:
            writer.writerow(_text(value) for value in row.model_dump().values())


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
