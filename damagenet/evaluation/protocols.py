"""The protocols: which network is trained for a fold, and on which tiles it is read.

published      trained on `train_another`, read on `test_another`; for comparison with papers only
deduplicated   the same network, read on the test tiles that share no file and no ground with it
region         a town held out alone, and two that are one satellite pass
acquisition    each satellite pass held out alone
shortcuts      the network and the tiles of deduplicated, with all cues but one taken away
post-event     the recipe's own split without the ground of the xBD scenes, read on their buildings;
               a recipe that learns from graded scenes leaves out one of them at a time
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from damagenet.errors import DataError
from damagenet.evaluation.options import Protocol
from damagenet.recipe import Bounds, Recipe
from data_prep.drafts import two_class_groups
from data_prep.harvey import HarveyTiles
from data_prep.splits import Split, split_tiles

REGION_FOLDS = ("victoria", "houston-south+houston-east")
"""Regions held out together are one satellite pass."""
LEARNED = {"inputs", "passes", "graded", "renderings"}
"""Settings of the data that say what is learned from beside the tiles of the split."""
ALL = "all"
"""Fold of a protocol that has no other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """One training of a protocol.

    Attributes:
        protocol: The protocol it belongs to.
        name: What is held out, as in `victoria`; `all` where there is one fold only.
        recipe: The recipe that makes its network.
        split: The tiles that train and choose the epoch.
        test: Rows of the manifest that are read for the score, int64; none for post-event.
    """

    protocol: Protocol
    name: str
    recipe: Recipe
    split: Split
    test: npt.NDArray[np.int64]


def make_folds(
    protocol: Protocol,
    recipe: Recipe,
    tiles: HarveyTiles,
    *,
    scene_grounds: Sequence[Bounds] = (),
    scene_names: Sequence[str] = (),
) -> list[Fold]:
    """Return the folds of a protocol with their recipes and tiles.

    Args:
        protocol: The protocol.
        recipe: What is trained; `data.split` counts for post-event only, since the other
            protocols have their own.
        tiles: The prepared data set.
        scene_grounds: Ground of the post-event scenes, which no tile may touch there.
        scene_names: Scenes seen after the storm that post-event reads.

    Raises:
        LeakError: If a split leaks that must not.
        DataError: If a part of a split is empty.
    """
    if protocol == "published":
        return [_published(recipe, tiles, protocol)]
    if protocol in ("deduplicated", "shortcuts"):
        fold = _published(recipe, tiles, protocol)
        kept = split_tiles(tiles, "deduplicated", exclude_ground=recipe.data.exclude_ground)
        return [replace(fold, test=kept.test)]
    if protocol == "region":
        return [_held_out(recipe, tiles, protocol, name) for name in REGION_FOLDS]
    if protocol == "acquisition":
        return [_held_out(recipe, tiles, protocol, name) for name in _passes(tiles)]
    excluded = (*recipe.data.exclude_ground, *scene_grounds)
    kept_off = _with_data(recipe, {"exclude_ground": excluded})
    graded = recipe.data.graded
    if graded is None:
        return [_on_scenes(kept_off, tiles, protocol, ALL)]
    return [
        _on_scenes(
            _with_data(
                kept_off,
                {"graded": graded.model_copy(update={"held_out": (*graded.held_out, name)})},
            ),
            tiles,
            protocol,
            name,
        )
        for name in scene_names
    ]


def _on_scenes(recipe: Recipe, tiles: HarveyTiles, protocol: Protocol, name: str) -> Fold:
    """Return a fold whose test are no tiles but buildings of scenes."""
    nothing = np.empty(0, dtype=np.int64)
    split = split_of(recipe, tiles)
    return Fold(protocol=protocol, name=name, recipe=recipe, split=split, test=nothing)


def training_key(recipe: Recipe, tiles: HarveyTiles, split: Split) -> str:
    """Return a hash over all that shapes a fold's weights, 64 hexadecimal digits.

    Two folds whose networks are the same have the same key, whatever their splits are called:
    what counts are the tiles that train and that choose the epoch.
    """
    manifest = tiles.manifest
    named = manifest["path"].to_numpy()
    hashes = manifest["sha256"].to_numpy()
    parts = {
        "shape": shape_of(recipe),
        "training": [f"{named[row]} {hashes[row]}" for row in split.train],
        "validation": [f"{named[row]} {hashes[row]}" for row in split.validation],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def shape_of(recipe: Recipe) -> dict[str, object]:
    """Return the settings that shape the weights beside the tiles, by their dotted names."""
    whole = recipe.model_dump(mode="json")
    learned = recipe.data.model_dump(
        mode="json", include=LEARNED, exclude={"graded": {"path"}}, exclude_defaults=True
    )
    sections = {
        "data.augmentation": whole["data"]["augmentation"],
        **{f"data.{name}": value for name, value in learned.items()},
        "model": whole["model"],
        "training": whole["training"],
    }
    return dict(_leaves(sections))


def _leaves(values: dict[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _published(recipe: Recipe, tiles: HarveyTiles, protocol: Protocol) -> Fold:
    leaking = _with_data(recipe, {"split": "published", "allow_leak": True})
    split = split_of(leaking, tiles)
    return Fold(protocol=protocol, name=ALL, recipe=leaking, split=split, test=split.test)


def _held_out(recipe: Recipe, tiles: HarveyTiles, protocol: Protocol, name: str) -> Fold:
    """Return the fold that holds out a region or a satellite pass, as the protocol is called."""
    held_out = _with_data(recipe, {"split": f"{protocol}:{name}", "allow_leak": False})
    split = split_of(held_out, tiles)
    return Fold(protocol=protocol, name=name, recipe=held_out, split=split, test=split.test)


def _passes(tiles: HarveyTiles) -> list[str]:
    passes = two_class_groups(tiles.manifest, "acquisition")
    if len(passes) < 2:
        raise DataError(
            f"{tiles.folder}: the tiles know {len(passes)} satellite passes with both classes, to "
            "hold one out takes two: prepare them again with the table of acquisitions"
        )
    return passes


def _with_data(recipe: Recipe, changes: dict[str, object]) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=changes)})


def split_of(recipe: Recipe, tiles: HarveyTiles) -> Split:
    """Return the split that a training of this recipe uses."""
    return split_tiles(
        tiles,
        recipe.data.split,
        exclude_ground=recipe.data.exclude_ground,
        allow_leak=recipe.data.allow_leak,
        limit=recipe.data.limit,
        seed=recipe.training.seed,
    )
