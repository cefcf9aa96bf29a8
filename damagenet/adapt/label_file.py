"""The file of buildings to label: read with the answers in it, written with more to come."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from pyproj import Transformer

from damagenet.adapt.footprint_hash import footprint_hashes
from damagenet.errors import DataError, OutputError
from damagenet.outputs.atomic import appears
from damagenet.outputs.batches import flat_geometries
from damagenet.outputs.geojson import lonlat_geometries
from data_prep.footprints import ID_COLUMNS, Buildings
from data_prep.ids import feature_ids
from data_prep.vectors import read_vectors

ANSWER, DRAWN, FOOTPRINT, ROUND = "label", "drawn", "footprint", "round"
RANDOM, CHOSEN = "random", "chosen"
ANSWERS = ("damaged", "undamaged", "")
"""What is asked for; blank where nobody has looked yet."""
COLUMNS = (
    "unit_id",
    ANSWER,
    DRAWN,
    "rank",
    "p_damaged",
    "uncertainty",
    "disagree",
    "scene",
    ROUND,
    "drawn_of",
    FOOTPRINT,
)
"""Columns that a suggestion has, in the order in which QGIS shows them."""
SAME_WALLS_M = 0.5
"""Vertices that differ by less were rounded by a file format, not moved by a person."""
SAME_PLACE_M = 10.0
"""A label without a fingerprint that lies farther from its building is of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """What a file of labels holds, checked against the buildings.

    Attributes:
        frame: All its columns but the geometry, `unit_id` as text and `footprint` filled in.
        sha256: Of the file; empty where there is none.
    """

    frame: pd.DataFrame
    sha256: str

    @property
    def round(self) -> int:
        """The number of the last round of suggestions in it, 0 without one."""
        rounds = pd.to_numeric(self.frame[ROUND], errors="coerce")
        return int(rounds.max()) if rounds.notna().any() else 0

    @property
    def random(self) -> pd.Series:
        """Which of them were drawn at random (bool)."""
        return _words(self.frame[DRAWN]) == RANDOM

    @property
    def answered(self) -> pd.Series:
        """Which of them have an answer (bool)."""
        return _words(self.frame[ANSWER]) != ""

    @property
    def other_answers(self) -> dict[str, int]:
        """Answers that are neither `damaged` nor `undamaged`, and how many have each."""
        counts = _words(self.frame[ANSWER]).value_counts()
        return {str(word): int(n) for word, n in counts.items() if word not in ANSWERS}


def no_label_file() -> LabelFile:
    """Return what stands for a file where there is none yet."""
    return LabelFile(frame=pd.DataFrame(columns=list(COLUMNS)), sha256="")


def read_label_file(
    path: Path, buildings: Buildings, *, id_field: str | None = None
) -> tuple[LabelFile, tuple[str, ...]]:
    """Read labels of buildings, and what must be said of them.

    Args:
        path: A file that `write_label_file` wrote, also after QGIS has saved it in another format;
            or any file of labelled buildings with their ids.
        buildings: The buildings, where every label must have its own.
        id_field: Column with the ids in a file that has no `unit_id`.

    Raises:
        FootprintError: If the file cannot be read, or its ids are missing or not unique.
        DataError: If a label's building is not among the buildings, or is not what it was.
    """
    vectors = read_vectors(path)
    frame = vectors.frame.reset_index(drop=True)
    frame = frame.assign(unit_id=_ids(frame, path, id_field))
    own = _own_buildings(frame, buildings, path)
    _refuse_changed(frame, own, path)
    told = () if ANSWER in frame else (_no_answers(path),)
    empty = {name: "" for name in (ANSWER, DRAWN) if name not in frame}
    missing = {name: None for name in COLUMNS if name not in frame} | empty
    kept = pd.DataFrame(frame.drop(columns="geometry")).assign(**missing)
    kept[FOOTPRINT] = footprint_hashes(own.geometry)
    # GDAL makes a column of the features' ids, which are written again as such.
    if "id" in kept and (kept["id"].astype(str) == kept["unit_id"]).all():
        kept = kept.drop(columns="id")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return LabelFile(frame=kept, sha256=sha256), (*vectors.warnings, *told)


def _no_answers(path: Path) -> str:
    return (
        f"{path.name} has no column {ANSWER!r}: what it says is kept in its own columns, but to "
        f"use it beside the new labels, copy it into {ANSWER!r}"
    )


def _ids(frame: GeoDataFrame, path: Path, id_field: str | None) -> list[str]:
    names = {str(name).lower() for name in frame.columns}
    if "unit_id" not in names and id_field is None and not names.intersection(ID_COLUMNS):
        raise DataError(
            f"{path} has no ids, so that nobody can say which buildings it labels: add a column "
            "unit_id with the ids of --buildings"
        )
    field = "unit_id" if "unit_id" in frame.columns else id_field
    return feature_ids(frame, field, path, candidates=ID_COLUMNS, option="--id-field")


def _own_buildings(frame: GeoDataFrame, buildings: Buildings, path: Path) -> GeoDataFrame:
    """Return the building of each label."""
    known = buildings.frame.set_index("unit_id")
    unknown = frame["unit_id"][~frame["unit_id"].isin(known.index)].tolist()
    if unknown:
        raise DataError(
            f"{path} labels {len(unknown)} buildings that {buildings.path} does not hold "
            f"({', '.join(unknown[:4])}): name the buildings that it was made with"
        )
    return known.loc[frame["unit_id"]]


def _refuse_changed(frame: GeoDataFrame, own: GeoDataFrame, path: Path) -> None:
    """Refuse labels whose building has other walls now, or lies elsewhere."""
    said = _words(frame.get(FOOTPRINT, pd.Series("", index=frame.index))).to_numpy()
    differ = np.flatnonzero(said != np.array(footprint_hashes(own.geometry), dtype=object))
    differ = differ[~own.geometry.is_empty.to_numpy()[differ]]
    if not len(differ):
        return
    crs = own.estimate_utm_crs()
    theirs = frame.geometry.to_crs(crs).to_numpy()[differ]
    ours = own.geometry.to_crs(crs).to_numpy()[differ]
    apart_m = np.where(
        said[differ] == "",
        shapely.distance(theirs, ours),
        shapely.hausdorff_distance(theirs, ours),
    )
    limit_m = np.where(said[differ] == "", SAME_PLACE_M, SAME_WALLS_M)
    changed = frame["unit_id"].to_numpy()[differ][~(apart_m <= limit_m)]
    if len(changed):
        raise DataError(
            f"{path}: the footprint of {len(changed)} labelled buildings is another than when they "
            f"were labelled ({', '.join(changed[:4])}): name the buildings that the labels were "
            "made with, or take these labels out"
        )


def write_label_file(path: Path, rows: pd.DataFrame, buildings: Buildings) -> None:
    """Write labels as RFC 7946 GeoJSON, each with the footprint of its building and its id.

    Args:
        path: The file, whole or not at all.
        rows: `unit_id` and any other columns, one row per label.
        buildings: The buildings, all of the labels' among them.

    Raises:
        OutputError: If the file cannot be written.
    """
    shapes = buildings.frame.set_index("unit_id").geometry.loc[rows["unit_id"]]
    to_lonlat = Transformer.from_crs(shapes.crs, 4326, always_xy=True)
    placed = lonlat_geometries(flat_geometries(shapes.to_numpy(), buildings.geometry), to_lonlat)
    with appears(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for feature in _features(rows, placed):
            file.write(separator + feature)
            separator = ",\n"
        file.write("\n]}\n")


def require_unchanged(path: Path, labels: LabelFile) -> None:
    """Refuse to write over a file that somebody saved since it was read, as QGIS may have done.

    Args:
        path: The file of labels, which is to be replaced.
        labels: What was read from it.

    Raises:
        OutputError: If it holds other bytes now.
    """
    if hashlib.sha256(path.read_bytes()).hexdigest() != labels.sha256:
        raise OutputError(
            f"{path} was saved by somebody while suggestions were made, nothing was changed in "
            "it: run the same command again"
        )


def _features(rows: pd.DataFrame, shapes: np.ndarray) -> Iterator[str]:
    names = [str(name) for name in rows.columns]
    records = rows.astype(object).to_numpy()
    for values, shape in zip(records, shapely.to_geojson(shapes), strict=True):
        properties = {name: _plain(value) for name, value in zip(names, values, strict=True)}
        # The id of a feature is what other programs, and our own, take for its id unasked.
        text = json.dumps(
            {"id": properties["unit_id"], "properties": properties},
            ensure_ascii=False,
            separators=(",", ":"),
            default=str,
        )
        yield f'{{"type":"Feature",{text[1:-1]},"geometry":{shape or "null"}}}'


def _plain(value: object) -> object:
    """Return a value that JSON knows; None for what is missing."""
    if pd.isna(value):  # type: ignore[call-overload]  # a cell holds no array
        return None
    return value.item() if isinstance(value, np.generic) else value


def _words(values: pd.Series) -> pd.Series:
    return values.astype("string").fillna("").str.strip().str.casefold().astype(object)
