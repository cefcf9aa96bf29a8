"""The labelled chips that a head is fitted on: tiles, or pairs of them, and graded buildings."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.bundle import MANIFEST_COLUMNS, file_sha256
from damagenet.card import ChipGround
from damagenet.errors import ConfigError, DataError
from damagenet.recipe import DATA_VARIABLE, DataSettings, GradedSettings, Recipe
from data_prep.graded import AFTER, GradedChips, find_scenes, read_graded_chips
from data_prep.harvey import HarveyTiles
from data_prep.splits import split_tiles
from data_prep.tile_ground import spatial_blocks

TILE_FOLDS = 5
"""Parts that tiles are cut into by spatial block where there are no graded scenes to follow."""
QUARTERS = 4
COORDINATE_DIGITS = 5
"""Tiles of one house have equal coordinates to so many digits (`data.md`)."""

Pixels = npt.NDArray[np.uint8]
Rows = tuple[npt.NDArray[np.int64], ...]
"""Rows of the manifest, one array for each picture of a chip."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledChips:
    """Chips of one source, all of one weight.

    Attributes:
        pictures: One array uint8 (N, S, S, 3) for each picture of a chip.
        damaged: bool (N,).
        unit: Number of the house or building of each chip (N,); a building may have several.
        fold: The part of the cross-validation that each chip belongs to, int64 (N,).
        quarter: The quarter of its scene that each chip's building stands in, 0..3, int64 (N,); of
            tiles one of four parts by spatial block.
        weight: Sum of the weights of all these chips in the fit.
        renderings: How many augmented views of each are learned from.
        compares: Whether such chips are what the network is asked about: not so a picture beside
            itself.
        calibrates: Whether probabilities and threshold are fitted on them as well.
        table: lon, lat, label and sha256 of the ground behind each unit, for the bundle.
        origin: Where they come from: a split of tiles, or a scene.
    """

    pictures: tuple[Pixels, ...]
    damaged: npt.NDArray[np.bool_]
    unit: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    quarter: npt.NDArray[np.int64]
    weight: float
    renderings: int
    compares: bool
    calibrates: bool
    graded: bool
    table: pd.DataFrame
    origin: str

    @property
    def units(self) -> int:
        """Number of houses or buildings."""
        return len(np.unique(self.unit))

    @property
    def words(self) -> str:
        """What they are."""
        kind = "damaged" if self.damaged[0] else "undamaged"
        what = "buildings" if self.graded else "tiles"
        return f"{self.units} {kind} {what} of {self.origin}"


def open_labelled_chips(recipe: Recipe, tiles: HarveyTiles | None = None) -> list[LabelledChips]:
    """Gather what a recipe learns a head from, source by source.

    Damaged tiles weigh as much as all undamaged chips together, with the shares of graded
    buildings that `data.graded` says. Of two pictures the damaged are a tile seen after the storm
    with one of the same house before it; the undamaged are a tile before the storm with itself.

    Raises:
        DataError: If tiles or scenes are missing, or a class is empty.
        LeakError: If the split leaks and the recipe does not allow it.
    """
    data = recipe.data
    tiles = HarveyTiles.open(data.path) if tiles is None else tiles
    graded = _graded(data) if data.graded is not None else []
    folds = max(len(graded), 2) if graded else TILE_FOLDS
    sources = [*_tile_chips(tiles, recipe, folds)]
    for number, chips in enumerate(graded):
        assert data.graded is not None
        sources += _building_chips(chips, number, data.graded, graded)
    return sources


def graded_folder(settings: GradedSettings) -> Path:
    """Return the folder of graded scenes: the recipe's, or `xbd` in $DAMAGENET_DATA.

    Raises:
        ConfigError: If neither is given.
    """
    if settings.path is not None:
        return settings.path
    if not os.environ.get(DATA_VARIABLE):
        raise ConfigError(
            f"data.graded.path is not set, nor is ${DATA_VARIABLE}: name the folder of xBD scenes"
        )
    return Path(os.environ[DATA_VARIABLE]) / "xbd"


def _graded(data: DataSettings) -> list[GradedChips]:
    assert data.graded is not None
    folder = graded_folder(data.graded)
    scenes = [scene for scene in find_scenes(folder) if scene.after]
    names = [scene.name for scene in scenes]
    unknown = [name for name in data.graded.held_out if name not in names]
    if unknown:
        raise ConfigError(
            f"data.graded.held_out names {unknown[0]!r}; {folder} holds: {', '.join(names)}"
        )
    kept = [scene for scene in scenes if scene.name not in data.graded.held_out]
    if not kept:
        raise DataError(f"{folder}: every graded scene is held out, so that none is learned from")
    return [read_graded_chips(scene, ChipGround(), data.inputs) for scene in kept]


def _tile_chips(tiles: HarveyTiles, recipe: Recipe, folds: int) -> list[LabelledChips]:
    data, manifest = recipe.data, tiles.manifest
    split = split_tiles(
        tiles,
        data.split,
        exclude_ground=data.exclude_ground,
        allow_leak=data.allow_leak,
        limit=data.limit,
        seed=recipe.training.seed,
    )
    # Out-of-fold verdicts calibrate, so that no validation part need be kept from learning.
    rows = np.sort(np.concatenate([split.train, split.validation]))
    known = manifest.iloc[rows]
    label = known["label"].to_numpy()
    here = known["acquisition"].isin(data.passes).to_numpy() if data.passes else True
    damaged, undamaged = rows[(label == 1) & here], rows[label == 0]
    pictures: tuple[Rows, Rows] = ((damaged,), (undamaged,))
    if data.inputs != ("post",):
        damaged, before = _same_house(manifest, damaged, undamaged)
        pictures = ((damaged, before), (before, before))
    if not len(damaged) or not len(pictures[1][0]):
        raise DataError(
            f"split {data.split!r} leaves {len(damaged)} damaged and {len(pictures[1][0])} "
            "undamaged tiles to learn from: name other passes or another split"
        )
    share = data.graded.damaged_share if data.graded else 0.0
    clean = data.graded.undamaged_share if data.graded else 0.0
    made = (
        (pictures[0], True, 1 - share),
        (pictures[1], False, 1 - clean),
    )
    return [
        LabelledChips(
            pictures=tuple(np.stack([tiles.pixels[row] for row in each]) for each in indices),
            damaged=np.full(len(indices[0]), is_damaged),
            unit=np.arange(len(indices[0])),
            fold=_block_folds(manifest.iloc[indices[0]], folds, recipe.training.seed),
            quarter=_block_folds(manifest.iloc[indices[0]], QUARTERS, recipe.training.seed),
            weight=weight,
            renderings=data.renderings,
            compares=is_damaged or len(indices) == 1,
            calibrates=is_damaged or (data.graded is None and len(indices) == 1),
            graded=False,
            table=_tile_table(manifest, indices),
            origin=f"split {split.name}",
        )
        for indices, is_damaged, weight in made
        if weight > 0
    ]


def _same_house(
    manifest: pd.DataFrame, damaged: npt.NDArray[np.int64], undamaged: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows of houses that are there twice: after the storm, and before it."""
    keys = manifest["lon"].round(COORDINATE_DIGITS).astype(str) + " "
    keys += manifest["lat"].round(COORDINATE_DIGITS).astype(str)
    before = pd.Series(undamaged, index=keys.iloc[undamaged])
    before = before[~before.index.duplicated()]
    found = keys.iloc[damaged].map(before)
    twice = found.notna().to_numpy() & ~keys.iloc[damaged].duplicated().to_numpy()
    return damaged[twice], found[twice].to_numpy(np.int64)


def _block_folds(rows: pd.DataFrame, folds: int, seed: int) -> npt.NDArray[np.int64]:
    blocks = spatial_blocks(rows["lon"], rows["lat"])
    names, where = np.unique(blocks, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(names)) % folds
    return np.asarray(drawn[where], np.int64)


def _tile_table(manifest: pd.DataFrame, indices: Sequence[npt.NDArray[np.int64]]) -> pd.DataFrame:
    return pd.concat([manifest.iloc[rows][MANIFEST_COLUMNS] for rows in indices])


def _building_chips(
    chips: GradedChips, fold: int, settings: GradedSettings, graded: Sequence[GradedChips]
) -> list[LabelledChips]:
    """Return the damaged and the undamaged chips of one scene, each with its part of the weight."""
    sources = []
    quarter = _quarters(chips)
    sha256 = file_sha256(chips.scene.path)
    for is_damaged, share in ((True, settings.damaged_share), (False, settings.undamaged_share)):
        here = chips.damaged == is_damaged
        everywhere = sum(int((each.damaged == is_damaged).sum()) for each in graded)
        if not here.any() or share == 0:
            continue
        sources.append(
            LabelledChips(
                pictures=tuple(each[here] for each in chips.pictures),
                damaged=chips.damaged[here],
                unit=chips.building[here],
                fold=np.full(int(here.sum()), fold),
                quarter=quarter[here],
                weight=share * float(here.sum()) / everywhere,
                renderings=settings.renderings,
                compares=True,
                calibrates=True,
                graded=True,
                table=pd.DataFrame(
                    {
                        "lon": chips.lon[here],
                        "lat": chips.lat[here],
                        "label": int(is_damaged),
                        "sha256": sha256,
                    }
                ),
                origin=chips.scene.name.removesuffix(AFTER),
            )
        )
    return sources


def _quarters(chips: GradedChips) -> npt.NDArray[np.int64]:
    """Return the quarter of the ground of a scene's buildings that each chip's building is in."""
    quarter = np.zeros(len(chips.building), np.int64)
    for places, weight in ((chips.lon, 1), (chips.lat, 2)):
        # All chips of a building go together, or a head would have seen one that it is asked about.
        middle = np.bincount(chips.building, places) / np.bincount(chips.building)
        quarter += weight * (middle > (middle.min() + middle.max()) / 2)[chips.building]
    return quarter
