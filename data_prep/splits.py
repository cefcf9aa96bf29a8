"""Which tiles train, which choose the epoch, and which are read once at the end.

The published split shares ground between training and test; the others do not, and that is
checked after each was made. Tiles share ground when their rectangles on the world grid overlap,
whatever their class: `no_damage` is mostly the picture of the same house before the storm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.errors import ConfigError, DataError, LeakError
from damagenet.recipe import Bounds
from data_prep.drafts import Draft, check_split, draft_split
from data_prep.harvey import HarveyTiles
from data_prep.tile_ground import Mask, shares_ground, spatial_blocks, touches

__all__ = [
    "Split",
    "check_boxes",
    "check_split",
    "require_no_leak",
    "spatial_blocks",
    "split_tiles",
]

_FEW = 100
"""Evaluation tiles of one class below which the description warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows of the manifest that train, validate and test.

    Args:
        name: What was asked for.
        description: What it holds and leaves out, in a few sentences.
        train: Row numbers, int64 ascending; likewise `validation` and `test`.
    """

    name: str
    description: str
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def split_tiles(
    tiles: HarveyTiles,
    split: str,
    *,
    exclude_ground: Sequence[Bounds] = (),
    allow_leak: bool = False,
    limit: int | None = None,
    seed: int = 0,
) -> Split:
    """Divide the tiles by one of the known splits.

    Args:
        tiles: A prepared data set.
        split: `published`, `deduplicated`, or `region:NAME[+NAME]` or `acquisition:ID[+ID]`,
            which hold those regions or satellite passes out as the test.
        exclude_ground: West, south, east, north in degrees of ground that no tile of training
            or validation may touch.
        allow_leak: Accept `published`, whose training and test share ground.
        limit: At most this many training tiles, half of each class.
        seed: Chooses the validation blocks of a region split, and the tiles under `limit`.

    Raises:
        ConfigError: If the split is unknown, `limit` is below 2 or a box is turned around.
        LeakError: If training shares files or ground with validation or test.
        DataError: If nothing is left of a part, or training lacks a class.
    """
    manifest = tiles.manifest
    if limit is not None and limit < 2:
        raise ConfigError(f"limit must be at least 2, one tile of each class, got {limit}")
    check_split(split)
    check_boxes(exclude_ground)
    draft = draft_split(manifest, split, seed)
    if exclude_ground:
        out = touches(manifest, exclude_ground)
        count = int((out & (draft.train | draft.validation)).sum())
        draft = draft.without(out, out, f"{count} tiles on excluded ground are left out.")
    if limit is not None:
        draft = _limit(manifest, draft, limit, seed)
    if not allow_leak:
        require_no_leak(manifest, draft.train, draft.validation | draft.test, name=split)
    return _finish(manifest, draft, split)


def require_no_leak(manifest: pd.DataFrame, train: Mask, evaluation: Mask, *, name: str) -> None:
    """Refuse a split whose training and evaluation share files or ground.

    Args:
        manifest: N tiles.
        train: Which of them are trained on, bool (N,).
        evaluation: Which of them are evaluated on, bool (N,).
        name: Of the split.

    Raises:
        LeakError: If they share any, with the counts.
    """
    learned, judged = manifest[train], manifest[evaluation]
    copies = int(judged["sha256"].isin(learned["sha256"]).sum())
    shared = int(shares_ground(judged, learned).sum())
    if copies or shared:
        raise LeakError(
            f"split {name!r} leaks: of {len(judged)} validation and test tiles {copies} are byte "
            f"copies of a training tile and {shared} share ground with one; take 'deduplicated' "
            "or 'region:NAME', or allow the leak by name (data.allow_leak: true)"
        )


def check_boxes(boxes: Sequence[Bounds]) -> None:
    """Check that boxes of excluded ground have their west and south sides first.

    Raises:
        ConfigError: If one is turned around.
    """
    for box in boxes:
        west, south, east, north = box
        if not (west < east and south < north):
            raise ConfigError(f"exclude_ground takes west, south, east, north, got {box}")


def _limit(manifest: pd.DataFrame, draft: Draft, limit: int, seed: int) -> Draft:
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(manifest), bool)
    for label in (0, 1):
        rows = np.flatnonzero(draft.train & (manifest["label"] == label).to_numpy())
        chosen[rng.permutation(rows)[: limit // 2]] = True
    note = f"Training is limited to {int(chosen.sum())} tiles."
    return draft.without(draft.train & ~chosen, np.zeros(len(manifest), bool), note)


def _finish(manifest: pd.DataFrame, draft: Draft, name: str) -> Split:
    labels = manifest["label"].to_numpy()
    parts = {"training": draft.train, "validation": draft.validation, "test": draft.test}
    notes = list(draft.notes)
    for part, mask in parts.items():
        undamaged, damaged = (int((labels[mask] == label).sum()) for label in (0, 1))
        if undamaged + damaged == 0 or (part == "training" and not undamaged * damaged):
            raise DataError(
                f"split {name!r} leaves {undamaged} undamaged and {damaged} damaged tiles for "
                f"{part}: exclude less ground, raise the limit or choose another split"
            )
        few = " (few: read its scores with care)" if min(undamaged, damaged) < _FEW else ""
        notes.append(f"{part.capitalize()}: {undamaged} undamaged, {damaged} damaged{few}.")
    near = int(shares_ground(manifest[draft.test], manifest[draft.validation]).sum())
    notes.append(f"{near} test tiles share ground with validation.")
    train, validation, test = (np.flatnonzero(mask) for mask in parts.values())
    return Split(
        name=name, description=" ".join(notes), train=train, validation=validation, test=test
    )
