"""Which tiles train, which choose the epoch, and which are read once at the end.

The published split shares ground between training and test; the others do not, and that is
checked after each was made. Tiles share ground when their rectangles on the world grid overlap,
whatever their class: `no_damage` is mostly the picture of the same house before the storm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.errors import ConfigError, DataError, LeakError
from damagenet.recipe import Bounds
from data_prep.harvey import HarveyTiles
from data_prep.tile import REGIONS
from data_prep.tile_ground import BLOCK_DEGREES, Mask, shares_ground, spatial_blocks, touches

__all__ = ["Split", "require_no_leak", "spatial_blocks", "split_tiles"]

VALIDATION_SHARE = 0.1
"""Share of the training regions' tiles that a region split sets aside to choose the epoch."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A split on its way: one mask per part, and what was said about it so far."""

    train: Mask
    validation: Mask
    test: Mask
    notes: tuple[str, ...] = ()

    def without(self, train: Mask, validation: Mask, note: str) -> "_Draft":
        kept = replace(self, train=self.train & ~train, validation=self.validation & ~validation)
        return replace(kept, notes=(*self.notes, note))


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
        split: `published`, `deduplicated`, or `region:NAME[+NAME]`, which holds those regions
            out as the test.
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
    draft = _draft(manifest, split, seed)
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
    """Raise LeakError, with the counts, if training and evaluation share files or ground."""
    learned, judged = manifest[train], manifest[evaluation]
    copies = int(judged["sha256"].isin(learned["sha256"]).sum())
    shared = int(shares_ground(judged, learned).sum())
    if copies or shared:
        raise LeakError(
            f"split {name!r} leaks: of {len(judged)} validation and test tiles {copies} are byte "
            f"copies of a training tile and {shared} share ground with one; take 'deduplicated' "
            "or 'region:NAME', or allow the leak by name (data.allow_leak: true)"
        )


def check_split(split: str) -> None:
    """Raise ConfigError, naming what is allowed, if there is no such split or region."""
    if split not in ("published", "deduplicated"):
        _held_regions(split)


def check_boxes(boxes: Sequence[Bounds]) -> None:
    """Raise ConfigError if a box of excluded ground is turned around."""
    for box in boxes:
        west, south, east, north = box
        if not (west < east and south < north):
            raise ConfigError(f"exclude_ground takes west, south, east, north, got {box}")


def _draft(manifest: pd.DataFrame, split: str, seed: int) -> _Draft:
    if split == "published":
        return _published(manifest)
    if split == "deduplicated":
        return _deduplicated(manifest)
    return _held_out(manifest, _held_regions(split), seed)


def _published(manifest: pd.DataFrame) -> _Draft:
    folder = manifest["published_split"]
    return _Draft(
        train=(folder == "train_another").to_numpy(),
        validation=(folder == "validation_another").to_numpy(),
        test=(folder == "test_another").to_numpy(),
        notes=("Trains on train_another, validates on validation_another, tests on test_another.",),
    )


def _deduplicated(manifest: pd.DataFrame) -> _Draft:
    whole = _published(manifest)
    learned = manifest[whole.train]
    leaking = shares_ground(manifest, learned) | manifest["sha256"].isin(learned["sha256"])
    leaking = np.asarray(leaking, bool)
    return _Draft(
        train=whole.train,
        validation=whole.validation & ~leaking,
        test=whole.test & ~leaking,
        notes=(
            *whole.notes,
            f"Left out: {int((whole.validation & leaking).sum())} validation and "
            f"{int((whole.test & leaking).sum())} test tiles that share ground with training.",
        ),
    )


def _held_regions(split: str) -> tuple[str, ...]:
    kind, _, names = split.partition(":")
    held = tuple(dict.fromkeys(names.split("+")))
    if kind != "region":
        raise ConfigError(
            f"unknown split {split!r}; choose one of: published, deduplicated, region:NAME[+NAME]"
        )
    unknown = [name for name in held if name not in REGIONS]
    if unknown:
        raise ConfigError(f"unknown region {unknown[0]!r}; choose one of: {', '.join(REGIONS)}")
    return held


def _held_out(manifest: pd.DataFrame, held: tuple[str, ...], seed: int) -> _Draft:
    distinct = (manifest["duplicate_of"] == "").to_numpy()
    region = manifest["region"]
    test = distinct & region.isin(held).to_numpy()
    # Where every tile has one label the place would be the label, so that nobody learns there.
    classes = manifest.groupby("region")["label"].nunique()
    learned = [name for name in REGIONS if classes.get(name) == 2 and name not in held]
    known = distinct & region.isin(learned).to_numpy()
    near_test = known & shares_ground(manifest, manifest[test])
    known &= ~near_test
    validation = known & _validation_blocks(manifest, known, seed)
    train = known & ~validation
    near_validation = train & shares_ground(manifest, manifest[validation])
    return _Draft(
        train=train & ~near_validation,
        validation=validation,
        test=test,
        notes=(
            f"Trains on all distinct tiles of {', '.join(learned)}; tests on {', '.join(held)}; "
            f"validates on blocks of {BLOCK_DEGREES} degree of the former.",
            f"Left out of training: {int(near_test.sum())} tiles that share ground with the test, "
            f"{int(near_validation.sum())} that share ground with validation.",
        ),
    )


def _validation_blocks(manifest: pd.DataFrame, known: Mask, seed: int) -> Mask:
    """Draw whole spatial blocks until they hold the validation share of the known tiles."""
    blocks = spatial_blocks(manifest["lon"], manifest["lat"])
    names, counts = np.unique(blocks[known], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    drawn = names[order][before < VALIDATION_SHARE * known.sum()]
    return np.isin(blocks, drawn)


def _limit(manifest: pd.DataFrame, draft: _Draft, limit: int, seed: int) -> _Draft:
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(manifest), bool)
    for label in (0, 1):
        rows = np.flatnonzero(draft.train & (manifest["label"] == label).to_numpy())
        chosen[rng.permutation(rows)[: limit // 2]] = True
    note = f"Training is limited to {int(chosen.sum())} tiles."
    return draft.without(draft.train & ~chosen, np.zeros(len(manifest), bool), note)


def _finish(manifest: pd.DataFrame, draft: _Draft, name: str) -> Split:
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
