"""Labels of this event, unit by unit: drawn at random, or known for another reason."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.errors import EvaluationError
from damagenet.evaluation.contradictions import refuse_contradictions
from damagenet.evaluation.survey_options import Words
from damagenet.evaluation.truth import Join, Survey, join_survey, read_survey

DRAWN_COLUMN = "drawn"
RANDOM = "random"
SLIP_CUTOFF = 0.75
"""Similarity from which another word is taken for a slip of `random`."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known of each unit, in the order of the units; arrays are bool (N,).

    Attributes:
        known: The unit has a label.
        random: The label was drawn at random.
        damaged: The label says damaged.
        join: How labels and units were brought together; None without labels.
    """

    known: Bools
    random: Bools
    damaged: Bools
    join: Join | None


def no_labels(units: int) -> Labels:
    """Return the labels of a run without any."""
    nothing = np.zeros(units, dtype=bool)
    return Labels(known=nothing, random=nothing, damaged=nothing, join=None)


def read_labels(
    units: pd.DataFrame,
    path: Path,
    field: str,
    words: Words,
    *,
    id_field: str | None = None,
    all_random: bool = False,
) -> Labels:
    """Read labels and bring them together with the units.

    Args:
        units: One row per unit with unit_id, lon and lat.
        path: File of labelled buildings, joined as `evaluate --truth` does. A column `drawn`
            marks those that were drawn at random with the word `random`.
        field: Column with what was found.
        words: What the words in it mean.
        id_field: Column with the ids that the results carry.
        all_random: Without that column, take all labels as drawn at random.

    Raises:
        EvaluationError: If the file cannot be used, nothing matches, one building is called both
            damaged and undamaged, a word is nearly `random`, or `all_random` contradicts it.
        FootprintError: If the file cannot be read.
        DataError: If no label has a place on the Earth.
    """
    survey = read_survey(path, field, words, id_field=id_field, drawn_field=DRAWN_COLUMN)
    refuse_contradictions(survey.frame, source=path.name)
    numbered = units.assign(row=np.arange(len(units)))
    matched, join = join_survey(numbered, survey)
    known, random, damaged = np.zeros((3, len(units)), dtype=bool)
    rows = matched["row"].to_numpy()
    known[rows] = True
    random[rows] = drawn_at_random(matched["drawn"], survey, path, all_random=all_random)
    damaged[rows] = matched["damaged_in_truth"].to_numpy(dtype=bool)
    return Labels(known=known, random=random, damaged=damaged, join=join)


def drawn_at_random(drawn: pd.Series, survey: Survey, path: Path, *, all_random: bool) -> Bools:
    """Return where the column `drawn` says `random`, or everywhere with `all_random`, bool (N,).

    Args:
        drawn: Words of N labels.
        survey: All labels of the file.
        path: The file.
        all_random: Take all for drawn at random, where no word is there.

    Raises:
        EvaluationError: If a word is nearly `random`, or `all_random` contradicts the column.
    """
    words = survey.frame["drawn"].unique().tolist()
    slips = [word for word in get_close_matches(RANDOM, words, 4, SLIP_CUTOFF) if word != RANDOM]
    if slips:
        raise EvaluationError(
            f"{path.name}, column {DRAWN_COLUMN!r}: {slips[0]!r} is taken for a slip of "
            f"{RANDOM!r}: write it so, or another word for labels that were chosen"
        )
    if not all_random:
        return (drawn == RANDOM).to_numpy(dtype=bool)
    if survey.frame["drawn"].ne("").any():
        raise EvaluationError(
            f"{path.name} has a column {DRAWN_COLUMN!r} that says which labels were drawn at "
            "random: leave out --labels-are-random, or remove the column"
        )
    return np.ones(len(drawn), dtype=bool)
