"""Labels that callers give on a finished assessment, kept in the file of `damagenet suggest`.

The file is read, changed and written under a lock, so that of two browsers that label at once
neither loses anything.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from filelock import FileLock, Timeout
from pydantic import Field, field_validator

from api.folders import JobFolder
from api.label_units import read_units
from api.problems import ServiceError, not_found
from api.schemas import Answer
from damagenet.adapt.footprint_hash import footprint_hashes
from damagenet.adapt.label_file import RANDOM, write_label_file
from damagenet.adapt.labelled import FEWEST
from data_prep.footprints import Buildings

Verdict = Literal["damaged", "undamaged"]
DAMAGED, UNDAMAGED = get_args(Verdict)
FIELD = "label"
"""The column with the verdict."""
LOCK_S = 30.0
"""How long a request waits for another one that writes labels."""


class Label(Answer):
    """One row of the file of labels: a unit, what somebody said of it, and why it was asked."""

    unit_id: str
    label: Verdict | None = None
    """What was seen; null where a suggestion has no answer yet."""
    drawn: Literal["random", "chosen"] = "chosen"
    """Drawn at random by a suggestion, or picked: by a suggestion or by whoever labelled it."""
    rank: int | None = None
    """Place in the order of labelling, in its round; null where nobody suggested the unit."""
    p_damaged: float | None = None
    """What the model said when it suggested the unit."""
    uncertainty: float | None = None
    """1 where the model's threshold lies, less the surer it is."""
    disagree: bool | None = None
    """One scene says damaged and another undamaged."""
    scene: str | None = None
    round: int | None = None
    """Round of suggestions, counted from 1."""
    drawn_of: int | None = None
    """Number of units that it was drawn from, where it was drawn at random."""
    footprint: str = ""
    """Fingerprint of the unit's outline."""
    by: str | None = None
    """Who labelled it: the id of an API key, or `local`."""
    when: str | None = None
    """When (ISO 8601, UTC)."""

    @field_validator("label", mode="before")
    @classmethod
    def _no_label(cls, value: object) -> object:
        return value or None

    @property
    def suggested(self) -> bool:
        """Whether a suggestion holds the unit, so that it stays without an answer too."""
        return self.rank is not None or self.drawn == RANDOM


class LabelCounts(Answer):
    """How far the labelling is."""

    damaged: int
    undamaged: int
    open: int
    """Suggested units without an answer."""
    random: int
    """Answered units that were drawn at random."""
    needed: int = Field(default=FEWEST)
    """Answers that `adapt` takes at least, both classes among them."""


class Labels(Answer):
    """All labels of an assessment, in the order in which they came."""

    labels: tuple[Label, ...]
    counts: LabelCounts
    rounds: int
    """Rounds of suggestions so far."""

    @classmethod
    def of(cls, rows: Sequence[Label]) -> "Labels":
        """Return rows with their counts."""
        said = [row.label for row in rows]
        return cls(
            labels=tuple(rows),
            counts=LabelCounts(
                damaged=said.count("damaged"),
                undamaged=said.count("undamaged"),
                open=said.count(None),
                random=sum(row.drawn == RANDOM and row.label is not None for row in rows),
            ),
            rounds=last_round(rows),
        )


def last_round(rows: Sequence[Label]) -> int:
    """Return the number of the last round of suggestions, 0 without one."""
    return max((row.round or 0 for row in rows), default=0)


def read_labels(folder: JobFolder) -> list[Label]:
    """Return the labels of an assessment in the order of their file; none where there is none."""
    try:
        return read_label_rows(folder.labels)
    except FileNotFoundError:
        return []


def read_label_rows(path: Path) -> list[Label]:
    """Return the rows of a file that the service or `suggest_buildings` wrote."""
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return [Label.model_validate(feature["properties"]) for feature in features]


def keep_labels(
    folder: JobFolder, said: Mapping[str, Verdict | None], *, by: str, when: str
) -> list[Label]:
    """Add what somebody said of units, or take it back (None), and return all labels.

    Whoever clicks a unit has chosen it, so that a new label is `chosen`; one that a suggestion
    drew at random stays `random`. A suggested unit stays in the file when its label is taken back.

    Args:
        folder: Of a finished assessment.
        said: What was said of each unit, by id.
        by: Who said it.
        when: ISO 8601.

    Raises:
        ServiceError: 422 if units do not exist or have no place, 503 if another request holds
            the file.
        OutputError: If the file cannot be written.
    """
    with locked_labels(folder):
        rows = read_labels(folder)
        units = read_units(folder.results, {**said, **dict.fromkeys(row.unit_id for row in rows)})
        new = units.frame[units.frame["unit_id"].isin(said)]
        prints = dict(zip(new["unit_id"], footprint_hashes(new.geometry), strict=True))
        known = {row.unit_id: row for row in rows}
        for unit_id, label in said.items():
            row = known.get(unit_id, Label(unit_id=unit_id, footprint=prints[unit_id]))
            if label is None and not row.suggested:
                known.pop(unit_id, None)
            else:
                who = {"by": by, "when": when} if label else {"by": None, "when": None}
                known[unit_id] = row.model_copy(update={"label": label, **who})
        rows = list(known.values())
        write_labels(folder, rows, units)
    return rows


@contextmanager
def locked_labels(folder: JobFolder) -> Iterator[None]:
    """Keep all others from changing the labels of an assessment while the block runs.

    Raises:
        ServiceError: 404 if the assessment is gone, 503 if another request holds the labels.
    """
    place = folder.labels.parent
    try:
        # Not with its parents: a deleted assessment must not come back as an empty folder.
        place.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise not_found("assessment") from None
    lock = FileLock(place / "labels.lock", timeout=LOCK_S)
    try:
        lock.acquire()
    except Timeout:
        raise ServiceError(
            503, "somebody else is writing these labels: send them again", {"Retry-After": "2"}
        ) from None
    try:
        yield
    finally:
        lock.release()
        if not folder.results.exists():
            # Deleted meanwhile: what was written since then must not stay behind.
            folder.delete()


def write_labels(folder: JobFolder, rows: Sequence[Label], units: Buildings | None = None) -> None:
    """Replace the file of labels, whole or not at all; without rows there is none.

    Args:
        folder: Of the assessment; its labels are locked.
        rows: All labels.
        units: Their units among others, where they are read already.

    Raises:
        OutputError: If the file cannot be written.
    """
    if not rows:
        folder.labels.unlink(missing_ok=True)
        return
    units = units or read_units(folder.results, [row.unit_id for row in rows])
    table = pd.DataFrame([row.model_dump() for row in rows], dtype=object)
    table[FIELD] = table[FIELD].fillna("")
    write_label_file(folder.labels, table, units)
