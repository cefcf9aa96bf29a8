"""What is wrong with the published data, counted: leaks between splits, and shortcuts to a label.

The counts are those of the files as published, so that they can be compared with what others
report; `data_prep.splits` leaves the leaking tiles out.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict
from scipy.spatial import cKDTree

from damagenet.errors import OutputError
from data_prep.audit_baselines import Baselines, measure_baselines
from data_prep.harvey import HarveyTiles
from data_prep.tile import HALF_TILE_DEGREES, REGIONS
from data_prep.tile_ground import METRES_PER_DEGREE, shares_ground

AUDIT = "audit.json"

TRAIN, VALIDATION, TEST = "train_another", "validation_another", "test_another"

_PAIRS = (
    ((TRAIN, 1), (TRAIN, 0)),
    ((TEST, 1), (TRAIN, 0)),
    ((TEST, 1), (VALIDATION, 0)),
    ((TEST, 0), (TRAIN, 1)),
    ((VALIDATION, 1), (TRAIN, 0)),
    ((VALIDATION, 0), (TRAIN, 1)),
)


class _Row(BaseModel):
    """A line of one of the audit's tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ByteCopies(_Row):
    """How many tiles of the folder `test` are byte copies of tiles elsewhere, by class."""

    label: int
    tiles: int
    in_train: int
    in_validation: int
    in_test_another: int
    in_none: int


class OppositeLabels(_Row):
    """Coordinates that one folder calls damaged and another undamaged (or the same folder)."""

    first: str
    first_label: int
    second: str
    second_label: int
    shared_coordinates: int


class SharedGround(_Row):
    """How many evaluation tiles have a training tile of the same class nearby.

    Args:
        split: Folder of the evaluation tiles.
        label: Their class, and that of the training tiles.
        tiles: Evaluation tiles.
        within_32_m: With a training tile's centre within 32 m on both axes.
        within_10_m: The same, within 10 m.
        overlapping: With a training tile less than a tile's side away on both axes.
        overlapping_any_class: Sharing a pixel of the world grid with a training tile of any class.
    """

    split: str
    label: int
    tiles: int
    within_32_m: int
    within_10_m: int
    overlapping: int
    overlapping_any_class: int


class LabelCount(_Row):
    """Distinct tiles of each class in one region, or from one satellite pass."""

    name: str
    undamaged: int
    damaged: int


class Audit(_Row):
    """The leak and shortcut report.

    Args:
        tiles: Tiles in the data set.
        distinct_tiles: Tiles that are no byte copy of an earlier one.
        undamaged_coordinates: Distinct coordinates called undamaged.
        also_damaged_coordinates: Those of them that are called damaged elsewhere.
    """

    tiles: int
    distinct_tiles: int
    undamaged_coordinates: int
    also_damaged_coordinates: int
    byte_copies: tuple[ByteCopies, ...]
    opposite_labels: tuple[OppositeLabels, ...]
    shared_ground: tuple[SharedGround, ...]
    regions: tuple[LabelCount, ...]
    acquisitions: tuple[LabelCount, ...]
    baselines: Baselines


def audit_tiles(tiles: HarveyTiles, *, seed: int = 0) -> Audit:
    """Count leaks and measure shortcuts.

    Args:
        tiles: A prepared data set.
        seed: Chooses the training tiles of the colour baseline.

    Raises:
        DataError: If a published split that a baseline needs lacks a class.
    """
    manifest = tiles.manifest
    distinct = manifest[manifest["duplicate_of"] == ""]
    undamaged, damaged = _coordinates(_part(manifest, label=0)), _coordinates(_part(manifest))
    evaluations = [(split, label) for split in (TEST, VALIDATION) for label in (1, 0)]
    return Audit(
        tiles=len(manifest),
        distinct_tiles=len(distinct),
        undamaged_coordinates=len(undamaged),
        also_damaged_coordinates=len(undamaged & damaged),
        byte_copies=tuple(_byte_copies(manifest, label) for label in (1, 0)),
        opposite_labels=tuple(_opposite_labels(manifest, *pair) for pair in _PAIRS),
        shared_ground=tuple(_shared_ground(manifest, *part) for part in evaluations),
        regions=_label_counts(distinct, "region", REGIONS),
        acquisitions=_label_counts(
            distinct, "acquisition", tuple(sorted(distinct["acquisition"].unique()))
        ),
        baselines=measure_baselines(tiles, seed=seed),
    )


def write_audit(audit: Audit, folder: Path) -> Path:
    """Write the audit as `audit.json` into a folder, whole or not at all; return its path.

    Raises:
        OutputError: If it cannot be written.
    """
    path = folder / AUDIT
    part = path.with_suffix(".part")
    try:
        part.write_text(audit.model_dump_json(indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as err:
        raise OutputError(f"cannot write {path}: {err.strerror}") from err
    return path


def _part(manifest: pd.DataFrame, *, split: str | None = None, label: int = 1) -> pd.DataFrame:
    chosen = manifest["label"] == label
    return manifest[chosen if split is None else chosen & (manifest["published_split"] == split)]


def _coordinates(part: pd.DataFrame) -> set[tuple[float, float]]:
    return set(zip(part["lon"], part["lat"], strict=True))


def _byte_copies(manifest: pd.DataFrame, label: int) -> ByteCopies:
    hashes = _part(manifest, split="test", label=label)["sha256"]
    found = [
        hashes.isin(_part(manifest, split=split, label=label)["sha256"])
        for split in (TRAIN, VALIDATION, TEST)
    ]
    return ByteCopies(
        label=label,
        tiles=len(hashes),
        in_train=int(found[0].sum()),
        in_validation=int(found[1].sum()),
        in_test_another=int(found[2].sum()),
        in_none=int((~(found[0] | found[1] | found[2])).sum()),
    )


def _opposite_labels(
    manifest: pd.DataFrame, first: tuple[str, int], second: tuple[str, int]
) -> OppositeLabels:
    ours = _coordinates(_part(manifest, split=first[0], label=first[1]))
    theirs = _coordinates(_part(manifest, split=second[0], label=second[1]))
    return OppositeLabels(
        first=first[0],
        first_label=first[1],
        second=second[0],
        second_label=second[1],
        shared_coordinates=len(ours & theirs),
    )


def _shared_ground(manifest: pd.DataFrame, split: str, label: int) -> SharedGround:
    judged = _part(manifest, split=split, label=label)
    learned = _part(manifest, split=TRAIN, label=label)
    offsets, owners = _offsets_degrees(judged, learned, within=2 * HALF_TILE_DEGREES)
    latitude = np.radians(judged["lat"].to_numpy(float)[owners])
    metres = offsets * METRES_PER_DEGREE
    metres[:, 0] *= np.cos(latitude)
    farthest = metres.max(axis=1)
    whole_train = manifest[manifest["published_split"] == TRAIN]
    return SharedGround(
        split=split,
        label=label,
        tiles=len(judged),
        within_32_m=len(np.unique(owners[farthest <= 32])),
        within_10_m=len(np.unique(owners[farthest <= 10])),
        overlapping=len(np.unique(owners)),
        overlapping_any_class=int(shares_ground(judged, whole_train).sum()),
    )


def _offsets_degrees(
    tiles: pd.DataFrame, others: pd.DataFrame, *, within: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the offsets of all close pairs, (P, 2) lon and lat, and each pair's tile, (P,)."""
    here, there = (part[["lon", "lat"]].to_numpy(float) for part in (tiles, others))
    near = cKDTree(here).sparse_distance_matrix(
        cKDTree(there), within, p=np.inf, output_type="ndarray"
    )
    return np.abs(here[near["i"]] - there[near["j"]]), near["i"]


def _label_counts(
    distinct: pd.DataFrame, column: str, names: tuple[str, ...]
) -> tuple[LabelCount, ...]:
    counts = distinct.groupby([column, "label"]).size()
    return tuple(
        LabelCount(
            name=name,
            undamaged=int(counts.get((name, 0), 0)),
            damaged=int(counts.get((name, 1), 0)),
        )
        for name in names
    )
