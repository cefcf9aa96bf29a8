"""The kinds of splits: which tiles train, validate and test, by the name of the split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from damagenet.errors import ConfigError
from data_prep.tile import REGIONS
from data_prep.tile_ground import BLOCK_DEGREES, Mask, shares_ground, spatial_blocks

VALIDATION_SHARE = 0.1
"""Share of the training regions' tiles that a region split sets aside to choose the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A split on its way: one mask per part, and what was said about it so far."""

    train: Mask
    validation: Mask
    test: Mask
    notes: tuple[str, ...] = ()

    def without(self, train: Mask, validation: Mask, note: str) -> "Draft":
        """Return the draft without some training and some validation tiles, and why."""
        kept = replace(self, train=self.train & ~train, validation=self.validation & ~validation)
        return replace(kept, notes=(*self.notes, note))


def check_split(split: str) -> None:
    """Raise ConfigError, naming what is allowed, if there is no such split or region.

    Which satellite passes there are, only the tiles know.
    """
    if split not in ("published", "deduplicated"):
        _held_groups(split)


def draft_split(manifest: pd.DataFrame, split: str, seed: int) -> Draft:
    """Return the tiles of a split before ground is excluded and numbers are limited.

    Args:
        manifest: Of the prepared tiles.
        split: Its name.
        seed: Chooses the validation blocks where regions or satellite passes are held out.

    Raises:
        ConfigError: If the split is unknown, or a satellite pass that these tiles do not know.
    """
    if split == "published":
        return _published(manifest)
    if split == "deduplicated":
        return _deduplicated(manifest)
    return _held_out(manifest, _held_groups(split), seed)


def _published(manifest: pd.DataFrame) -> Draft:
    folder = manifest["published_split"]
    return Draft(
        train=(folder == "train_another").to_numpy(),
        validation=(folder == "validation_another").to_numpy(),
        test=(folder == "test_another").to_numpy(),
        notes=("Trains on train_another, validates on validation_another, tests on test_another.",),
    )


def _deduplicated(manifest: pd.DataFrame) -> Draft:
    whole = _published(manifest)
    learned = manifest[whole.train]
    leaking = shares_ground(manifest, learned) | manifest["sha256"].isin(learned["sha256"])
    leaking = np.asarray(leaking, bool)
    return Draft(
        train=whole.train,
        validation=whole.validation & ~leaking,
        test=whole.test & ~leaking,
        notes=(
            *whole.notes,
            f"Left out: {int((whole.validation & leaking).sum())} validation and "
            f"{int((whole.test & leaking).sum())} test tiles that share ground with training.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What is held out: values of one column of the manifest."""

    column: Literal["region", "acquisition"]
    names: tuple[str, ...]


def _held_groups(split: str) -> _Held:
    kind, _, listed = split.partition(":")
    names = tuple(dict.fromkeys(listed.split("+")))
    if kind == "acquisition" and all(names):
        return _Held(column="acquisition", names=names)
    if kind != "region":
        raise ConfigError(
            f"unknown split {split!r}; choose one of: published, deduplicated, "
            "region:NAME[+NAME], acquisition:ID[+ID]"
        )
    unknown = [name for name in names if name not in REGIONS]
    if unknown:
        raise ConfigError(f"unknown region {unknown[0]!r}; choose one of: {', '.join(REGIONS)}")
    return _Held(column="region", names=names)


def two_class_groups(manifest: pd.DataFrame, column: str) -> list[str]:
    """Return the regions, or the satellite passes, that hold both classes, in order of the name.

    Where every tile has one label the place or the pass would be the label, so that nobody learns
    there, and nobody is tested. A tile without a known pass belongs to none.

    Args:
        manifest: Of the prepared tiles.
        column: `region` or `acquisition`.
    """
    classes = manifest[manifest[column] != ""].groupby(column)["label"].nunique()
    return sorted(str(name) for name in classes.index[classes == 2])


def _held_out(manifest: pd.DataFrame, held: _Held, seed: int) -> Draft:
    _require_groups(manifest, held)
    distinct = (manifest["duplicate_of"] == "").to_numpy()
    group = manifest[held.column]
    test = distinct & group.isin(held.names).to_numpy()
    learned = [name for name in two_class_groups(manifest, held.column) if name not in held.names]
    known = distinct & group.isin(learned).to_numpy()
    near_test = known & shares_ground(manifest, manifest[test])
    known &= ~near_test
    validation = known & _validation_blocks(manifest, known, seed)
    train = known & ~validation
    near_validation = train & shares_ground(manifest, manifest[validation])
    return Draft(
        train=train & ~near_validation,
        validation=validation,
        test=test,
        notes=(
            f"Trains on all distinct tiles of {', '.join(_in_order(learned))}; tests on "
            f"{', '.join(held.names)}; validates on blocks of {BLOCK_DEGREES} degree of the "
            "former.",
            f"Left out of training: {int(near_test.sum())} tiles that share ground with the test, "
            f"{int(near_validation.sum())} that share ground with validation.",
        ),
    )


def _require_groups(manifest: pd.DataFrame, held: _Held) -> None:
    """Raise ConfigError if a satellite pass is held out that the tiles do not know."""
    known = sorted(set(manifest["acquisition"]) - {""})
    unknown = [name for name in held.names if held.column == "acquisition" and name not in known]
    if unknown:
        raise ConfigError(
            f"unknown acquisition {unknown[0]!r}; the tiles know: {', '.join(known) or 'none'} "
            "(they come from the table of acquisitions beside the tiles when these are prepared)"
        )


def _in_order(names: Sequence[str]) -> list[str]:
    """Return regions from west to east, as everywhere; satellite passes as they are."""
    return [name for name in REGIONS if name in names] or list(names)


def _validation_blocks(manifest: pd.DataFrame, known: Mask, seed: int) -> Mask:
    """Draw whole spatial blocks until they hold the validation share of the known tiles."""
    blocks = spatial_blocks(manifest["lon"], manifest["lat"])
    names, counts = np.unique(blocks[known], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    drawn = names[order][before < VALIDATION_SHARE * known.sum()]
    return np.isin(blocks, drawn)
