"""Survey truth: what people found, joined unit by unit to what an assessment said.

Units and surveyed buildings are the same where their ids are equal and they lie within 10 m. Row
numbers of two files are equal too, though one row more or less gives every later building another
one's number: where more than 5 % of the pairs of equal id lie farther apart, the ids are foreign,
and the nearest within 10 m is taken for all, one to one.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from damagenet.config import Settings, meant
from damagenet.errors import EvaluationError
from damagenet.evaluation.survey_options import Words
from data_prep.footprints import Buildings, read_buildings

NEAREST_M = 10.0
"""A surveyed building farther than this from a unit is another building."""
FOREIGN_SHARE = 0.05
"""With a larger share of pairs of equal id farther apart than that, the ids are foreign."""
SLIP_CUTOFF = 0.9
"""Similarity from which a word of the field is taken for a slip of a word that was asked for."""

EMPTY = "(empty)"
"""How a field without a word is counted."""
ABSENT = "not in the field"
"""What is said of a word that was asked for and that no building has."""

JoinedBy = Literal["id", "nearest"]


class Join(Settings):
    """How units and surveyed buildings were brought together, and what was left over."""

    joined_by: JoinedBy
    matched: int
    ids_elsewhere: int = 0
    """Pairs of equal id that are not the same building, as they lie farther apart than 10 m."""
    units_unmatched: int
    """Units of the assessment that no surveyed building answers to."""
    truth_unmatched: int
    """Surveyed buildings with a class that no unit answers to."""
    truth_ignored: dict[str, int] = Field(default_factory=dict)
    """Surveyed buildings left out, by word; see EMPTY."""
    words: dict[str, str]
    """What each word was taken for; a word that was asked for and is not there is ABSENT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The surveyed buildings that have a class.

    Attributes:
        frame: Columns unit_id, damaged (bool), geometry (WGS 84), and `drawn` where asked for.
        ignored: Buildings left out, by word.
        words: What each word was taken for: damaged, undamaged or ignored; and which words that
            were asked for are not there.
    """

    frame: gpd.GeoDataFrame
    ignored: dict[str, int]
    words: dict[str, str]


def read_survey(
    path: Path,
    field: str,
    words: Words,
    *,
    id_field: str | None = None,
    drawn_field: str | None = None,
) -> Survey:
    """Read surveyed buildings and make two classes of the words in one field.

    Args:
        path: Any file of buildings that `assess --buildings` takes.
        field: The column with the class.
        words: What the words in it mean.
        id_field: Column with the ids; without one uid, id or fid, else the row number.
        drawn_field: Column that says how each building was picked; its words are kept as `drawn`,
            blank everywhere where there is no such column.

    Raises:
        EvaluationError: If the column is missing or a word in it is not accounted for.
        FootprintError: If the file cannot be read.
    """
    buildings = read_buildings(path, id_field=id_field)
    said = _words_of(_column(buildings, field, path))
    meaning = _meanings(said, words, f"{path.name}, field {field!r}")
    taken_for = said.map(meaning)
    known = (taken_for != "ignored").to_numpy()
    if not known.any():
        raise EvaluationError(f"{path.name}, field {field!r}: no building has a class to score by")
    frame = gpd.GeoDataFrame(
        {
            "unit_id": buildings.frame["unit_id"].astype(str)[known],
            "damaged": (taken_for == "damaged")[known],
        },
        geometry=_in_degrees(buildings.frame).geometry[known],
    )
    if drawn_field is not None:
        blank = pd.Series("", index=buildings.frame.index)
        frame["drawn"] = _words_of(buildings.frame.get(drawn_field, blank))[known]
    ignored = said[~known].replace("", EMPTY).value_counts()
    return Survey(
        frame=frame.reset_index(drop=True),
        ignored={str(word): int(count) for word, count in ignored.items()},
        words={str(word) or EMPTY: meaning[word] for word in sorted(said.unique())}
        | {word: ABSENT for word in _asked(words) if word not in meaning},
    )


def words_told(words: dict[str, str]) -> str:
    """Return what each word of a survey's field was taken for, in a line."""
    said = "words: " + ", ".join(f"{word} is {kind}" for word, kind in words.items())
    if "damaged" in words.values():
        return said
    return f"no word of the field is taken for damaged, so that nothing counts as damaged; {said}"


def elsewhere_told(join: Join) -> str:
    """Return what is to be said of pairs of equal id that lie apart, after a join; else nothing."""
    if not join.ids_elsewhere:
        return ""
    return (
        f"; {join.ids_elsewhere:,} pairs of equal id lie farther apart than {NEAREST_M:g} m and "
        "are not the same building"
    )


def _column(buildings: Buildings, field: str, path: Path) -> pd.Series:
    # A column named like one of ours comes back as src_<name>.
    for name in (f"src_{field}", field):
        if name in buildings.frame.columns:
            column: pd.Series = buildings.frame[name]
            return column
    columns = set(buildings.frame.columns) - {"geometry", "unit_id"}
    names = sorted(str(name).removeprefix("src_") for name in columns)
    raise EvaluationError(
        f"{path.name} has no field {field!r}{meant(field, names)}; choose one of: "
        f"{', '.join(names)}"
    )


def _words_of(values: pd.Series) -> pd.Series:
    """Make words of what the field holds: case and blanks do not count, 1.0 is 1."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    words: pd.Series = values.astype("string").fillna("").str.strip().str.casefold().astype(object)
    return words


def _meanings(said: pd.Series, words: Words, where: str) -> dict[str, str]:
    asked = _asked(words)
    doubled = sum(len(group) for group in (words.damaged, words.undamaged, words.ignored))
    if doubled != len(asked):
        raise EvaluationError("a word is named twice among --damaged, --undamaged and --ignore")
    found = [str(word) for word in said.unique() if word]
    absent = [word for word in asked if word not in found]
    unnamed = [word for word in found if word not in asked]
    # Without undamaged words only a slip of the pen can be told from a word that is meant.
    faults = [
        word
        for word in unnamed
        if words.undamaged
        or get_close_matches(word, absent, 1, SLIP_CUTOFF)
        or any(_is_slip(word, other) for other in asked)
    ]
    if faults:
        counted = ", ".join(f"{word} ({(said == word).sum()})" for word in sorted(found))
        raise EvaluationError(
            f"{where}: {', '.join(map(repr, sorted(faults)))} is in none of --damaged, "
            f"--undamaged and --ignore; the field holds: {counted}"
        )
    return {"": "ignored"} | {word: asked.get(word, "undamaged") for word in found}


def _is_slip(word: str, other: str) -> bool:
    """Return whether a word is another one misspelt: no other number, and no `un` before it."""
    digits, others = (re.sub(r"\D", "", one) for one in (word, other))
    opposite = word.endswith(other) or other.endswith(word)
    alike = bool(get_close_matches(word, [other], 1, SLIP_CUTOFF))
    return alike and digits == others and not opposite


def _asked(words: Words) -> dict[str, str]:
    return {
        word.strip().casefold(): meaning
        for meaning in ("ignored", "undamaged", "damaged")
        for word in getattr(words, meaning)
    }


def _in_degrees(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    if frame.crs is None:
        raise EvaluationError("the survey has no CRS, so that its buildings have no place: set one")
    return frame.to_crs(4326)


def join_survey(units: pd.DataFrame, survey: Survey) -> tuple[pd.DataFrame, Join]:
    """Bring every unit together with the surveyed building that it is, where there is one.

    Args:
        units: One row per unit with unit_id, lon and lat (degrees, NaN without a CRS).
        survey: The surveyed buildings.

    Returns:
        The units that have a counterpart, with the column `damaged_in_truth` (and `drawn`, where
        the survey has it), and the tally.

    Raises:
        EvaluationError: If not one unit has a counterpart.
    """
    distances = _Distances.between(units, survey.frame)
    same_id = _pairs_of_equal_id(units, survey.frame)
    apart_m = distances.of(same_id)
    # False for the NaN of a unit without a place, which keeps its pair.
    elsewhere = apart_m > NEAREST_M
    foreign = elsewhere.sum() > FOREIGN_SHARE * np.isfinite(apart_m).sum()
    joined_by: JoinedBy = "nearest" if foreign or not len(same_id) else "id"
    pairs = same_id[~elsewhere] if joined_by == "id" else distances.nearest()
    if not len(pairs):
        raise EvaluationError(
            f"no unit matches a surveyed building, by id or within {NEAREST_M:g} m: "
            f"{len(units)} units, {len(survey.frame)} surveyed; is it the same place?"
        )
    matched = units.iloc[pairs[:, 0]].copy()
    answers = survey.frame.iloc[pairs[:, 1]]
    matched["damaged_in_truth"] = answers["damaged"].to_numpy()
    if "drawn" in answers:
        matched["drawn"] = answers["drawn"].to_numpy()
    return matched, Join(
        joined_by=joined_by,
        matched=len(matched),
        ids_elsewhere=int(elsewhere.sum()),
        units_unmatched=len(units) - len(matched),
        truth_unmatched=len(survey.frame) - len(matched),
        truth_ignored=survey.ignored,
        words=survey.words,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distances:
    """Units and surveyed buildings in metres, in one projection around them."""

    units: gpd.GeoSeries
    truth: gpd.GeoSeries

    @classmethod
    def between(cls, units: pd.DataFrame, truth: gpd.GeoDataFrame) -> "_Distances":
        points = gpd.GeoSeries(gpd.points_from_xy(units["lon"], units["lat"]), crs=4326)
        # A unit without a place stays in its row as an empty point, which is near nothing.
        metres = truth.estimate_utm_crs()
        return cls(units=points.to_crs(metres), truth=truth.geometry.to_crs(metres))

    def of(self, pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Metres between the partners of each pair; NaN where a unit has no place."""
        units = self.units.iloc[pairs[:, 0]].reset_index(drop=True)
        truth = self.truth.iloc[pairs[:, 1]].reset_index(drop=True)
        return np.asarray(units.distance(truth), dtype=np.float64)

    def nearest(self) -> npt.NDArray[np.intp]:
        """Pairs within reach, the closest first, each side used once; ordered by unit."""
        found = self.truth.sindex.query(self.units, predicate="dwithin", distance=NEAREST_M)
        candidates = np.asarray(found, dtype=np.intp).T.reshape(-1, 2)
        order = np.lexsort((candidates[:, 1], candidates[:, 0], self.of(candidates)))
        taken_units: set[int] = set()
        taken_truth: set[int] = set()
        pairs = []
        for unit, building in candidates[order].tolist():
            if unit not in taken_units and building not in taken_truth:
                taken_units.add(unit)
                taken_truth.add(building)
                pairs.append((unit, building))
        return np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)


def _pairs_of_equal_id(units: pd.DataFrame, truth: gpd.GeoDataFrame) -> npt.NDArray[np.intp]:
    """Return pairs of equal id; none where two units share an id, as cells of two scenes may."""
    row_of = pd.Series(np.arange(len(truth)), index=truth["unit_id"])
    found = units["unit_id"].astype(str).map(row_of)
    matched = found.notna().to_numpy() & units["unit_id"].is_unique
    return np.stack([np.flatnonzero(matched), found[matched].to_numpy(dtype=np.intp)], axis=1)
