"""What a second assessment of the same units says otherwise than a first one."""

from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from api.label_units import TABLE
from api.problems import ServiceError
from api.schemas import Answer

FIELDS = ("label", "p_damaged")
COLUMNS = ("unit_id", "lon", "lat", "model", *FIELDS)
SAME_PLACE_DEG = 1e-5
"""About a metre: units of one id that lie farther apart are different ones, as cells of grids
that were cut for different models."""


class Verdict(Answer):
    """What one assessment says of a unit."""

    label: str
    p_damaged: float | None
    """Null where it could not be judged."""


class ChangedUnit(Answer):
    """A unit whose label is another one now."""

    unit_id: str
    lon: float | None
    lat: float | None
    before: Verdict
    after: Verdict


class Flow(Answer):
    """How many units went from one label to another."""

    before: str
    after: str
    count: int


class Changes(Answer):
    """Units whose label differs between two assessments."""

    assessment: str
    against: str
    """The assessment before."""
    model: str
    """The model of this one, as name@hash."""
    model_against: str
    compared: int
    """Units that both hold: the same id at the same place."""
    only_here: int
    only_there: int
    changed: int
    flows: tuple[Flow, ...]
    """All changes, the most frequent first."""
    units: tuple[ChangedUnit, ...]
    """Changed units, the largest change of the probability first, as many as were asked for."""


def find_changes(here: Path, there: Path, *, ids: tuple[str, str], limit: int) -> Changes:
    """Compare the results of two assessments.

    Args:
        here: Folder of the results after.
        there: Folder of the results before.
        ids: The two assessments in that order, for the answer.
        limit: Changed units that are listed.

    Raises:
        ServiceError: 422 if one of them has no common table, or they share no unit.
    """
    after, before = _read(here), _read(there)
    both = after.merge(before, on="unit_id", suffixes=("", "_before"))
    both = both[_same_place(both)]
    if not len(both):
        raise ServiceError(
            422, "the two assessments share no unit: compare two of the same scenes and buildings"
        )
    changed = both[both["label"] != both["label_before"]]
    size = (changed["p_damaged"] - changed["p_damaged_before"]).abs().fillna(1.0)
    listed = changed.loc[size.sort_values(ascending=False, kind="stable").index[:limit]]
    return Changes(
        assessment=ids[0],
        against=ids[1],
        model=_models(after),
        model_against=_models(before),
        compared=len(both),
        only_here=len(after) - len(both),
        only_there=len(before) - len(both),
        changed=len(changed),
        flows=_flows(changed),
        units=tuple(_unit(row) for row in listed.to_dict("records")),
    )


def _read(results: Path) -> pd.DataFrame:
    table = results / TABLE
    if not table.exists():
        raise ServiceError(422, "an assessment without a common table cannot be compared")
    return pd.read_parquet(table, columns=list(COLUMNS))


def _same_place(both: pd.DataFrame) -> "pd.Series[bool]":
    apart = [(both[axis] - both[f"{axis}_before"]).abs() for axis in ("lon", "lat")]
    # Units of a scene without a CRS have no place, and the same id is all there is.
    near = [~(one > SAME_PLACE_DEG) for one in apart]
    return near[0] & near[1]


def _models(table: pd.DataFrame) -> str:
    return ", ".join(sorted(table["model"].unique()))


def _flows(changed: pd.DataFrame) -> tuple[Flow, ...]:
    pairs = Counter(zip(changed["label_before"], changed["label"], strict=True))
    return tuple(
        Flow(before=before, after=after, count=count)
        for (before, after), count in pairs.most_common()
    )


def _unit(row: Mapping[Hashable, Any]) -> ChangedUnit:
    known = {name: None if pd.isna(value) else value for name, value in row.items()}
    return ChangedUnit(
        unit_id=known["unit_id"],
        lon=known["lon"],
        lat=known["lat"],
        before=Verdict(label=known["label_before"], p_damaged=known["p_damaged_before"]),
        after=Verdict(label=known["label"], p_damaged=known["p_damaged"]),
    )
