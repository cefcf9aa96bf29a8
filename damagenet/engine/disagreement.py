"""Where scenes of one run contradict each other on a building: counted, named, never averaged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damagenet.assessment import ROW_COLUMN, Assessment
from damagenet.labels import Label
from damagenet.outputs.compared import Compared, show_compared
from damagenet.outputs.layer import reading_part
from damagenet.outputs.summary import SUMMARY_FILE, with_compared

LISTED = 50
"""Ids in a report at most."""
FIRM = {Label.DAMAGED.value: 1, Label.UNDAMAGED.value: 2}
"""A bit for each of the two verdicts that can contradict each other."""
BOTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """How often the scenes of a run contradict each other.

    Attributes:
        shared: Buildings with a verdict, damaged or undamaged, on several scenes.
        disagree: Of these, how many one scene calls damaged and another undamaged.
        scenes: The same for the buildings of each scene, by its folder.
    """

    shared: int
    disagree: int
    scenes: dict[str, Compared]

    @property
    def sentence(self) -> str:
        """What a person must know of it; empty where no building is on several scenes."""
        if not self.shared:
            return ""
        if not self.disagree:
            return f"all {self.shared} buildings that several scenes show are called the same there"
        return (
            f"{self.disagree} of {self.shared} buildings that several scenes show are called "
            "damaged by one and undamaged by another: the column disagree of damage.* marks them, "
            "look at them by eye"
        )


def count_disagreement(assessments: Sequence[Assessment], *, buildings: int) -> Disagreement:
    """Compare the verdicts of scenes on the same buildings.

    Args:
        assessments: Finished, with the buildings of one file as their units.
        buildings: Rows of that file.

    Raises:
        OutputError: If a part is missing or damaged.
    """
    said = np.zeros(buildings, dtype=np.uint8)
    scenes = np.zeros(buildings, dtype=np.uint16)
    for assessment in assessments:
        for part in _firm_parts(assessment):
            said[part[ROW_COLUMN]] |= part["label"].map(FIRM).to_numpy(dtype=np.uint8)
            scenes[part[ROW_COLUMN]] += 1
    shared, differ = scenes > 1, said == BOTH
    return Disagreement(
        shared=int(shared.sum()),
        disagree=int(differ.sum()),
        scenes={one.stem: _compared(one, shared, differ) for one in assessments},
    )


def _compared(
    assessment: Assessment, shared: NDArray[np.bool_], differ: NDArray[np.bool_]
) -> Compared:
    both, disagree, listed = 0, 0, list[str]()
    for part in _firm_parts(assessment):
        rows = part[ROW_COLUMN].to_numpy()
        both += int(shared[rows].sum())
        disagree += int(differ[rows].sum())
        listed += part["unit_id"][differ[rows]].head(LISTED - len(listed)).tolist()
    return Compared(shared=both, disagree=disagree, listed=tuple(listed))


def _firm_parts(assessment: Assessment) -> Iterator[pd.DataFrame]:
    for path in assessment.part_paths():
        with reading_part(path):
            part = pd.read_parquet(path, columns=[ROW_COLUMN, "unit_id", "label"])
        yield part[part["label"].isin(list(FIRM))]


def show_disagreement(out: Path, found: Disagreement) -> tuple[str, ...]:
    """Put what was found into the report and the summary of every scene.

    Returns:
        What must be said: the count, and which reports have no place for it.

    Raises:
        OutputError: If a file cannot be read or written.
    """
    told = [found.sentence] if found.sentence else []
    for stem, compared in found.scenes.items():
        report, summary = out / stem / "report.html", out / stem / SUMMARY_FILE
        if report.is_file() and not show_compared(report, compared):
            told.append(f"{report} has no place for other scenes: assess again to get one")
        if summary.is_file():
            with_compared(summary, compared)
    return tuple(told)
