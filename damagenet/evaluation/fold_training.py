"""The network of a fold: one that is trained already, or a new one in the cache."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.bundle import CARD_FILE, MANIFEST_COLUMNS, Bundle, load_bundle, read_card
from damagenet.bundle import MANIFEST_FILE as TILES_FILE
from damagenet.errors import ConfigError, DataError, LeakError
from damagenet.evaluation.protocols import Fold, shape_of, split_of, training_key
from damagenet.recipe import Recipe
from damagenet.training.head import is_solver
from damagenet.training.train import BUNDLE, train
from data_prep.harvey import HarveyTiles

logger = logging.getLogger(__name__)

KEY_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldCache:
    """Where the networks of folds are kept, and which are there already.

    Attributes:
        folder: Gets one training per key, `<key>/bundle`.
        trained: Outputs of `damagenet train`, or bundles, that may serve as a fold's network.
        command: Written into the card of what is trained here.
    """

    folder: Path
    trained: tuple[Path, ...] = ()
    command: str = ""

    def network(self, fold: Fold, tiles: HarveyTiles) -> Bundle:
        """Return the network of a fold, trained now if there is none yet.

        Raises:
            DamageNetError: As `damagenet.training.train.train` does.
        """
        key = training_key(fold.recipe, tiles, fold.split)
        home = self.folder / key[:KEY_DIGITS]
        for folder in (home / BUNDLE, *map(bundle_of, self.trained)):
            if (folder / CARD_FILE).is_file() and not differences(folder, fold, tiles):
                logger.info("fold %s: taking the network in %s", fold.name, folder)
                return load_bundle(folder)
        logger.info("fold %s: training in %s", fold.name, home)
        return train(fold.recipe, home, tiles=tiles, command=self.command)

    def require_use(self, folds: Sequence[Fold], tiles: HarveyTiles) -> None:
        """Refuse a `trained` folder that is the network of none of the folds.

        Raises:
            ConfigError: With the first difference to the first fold.
            BundleError: If the folder holds no whole bundle.
        """
        for given in self.trained:
            found = [differences(bundle_of(given), fold, tiles) for fold in folds]
            if all(found):
                raise ConfigError(
                    f"--trained {given} is not the network of this protocol: {found[0][0]}"
                )


def bundle_of(folder: Path) -> Path:
    """Return the bundle in the output of a training; a bundle's own folder stays itself."""
    return folder / BUNDLE if (folder / BUNDLE).is_dir() else folder


def differences(folder: Path, fold: Fold, tiles: HarveyTiles) -> list[str]:
    """Say how a bundle's training differs from what a fold asks; nothing where it is the same.

    The card's recipe is split again on these tiles, so that the tiles that chose the epoch are
    compared too, and the list of training tiles in the bundle must be the one that comes out.

    Raises:
        BundleError: If the folder holds no whole bundle.
    """
    recipe = read_card(folder).recipe
    asked, found = shape_of(fold.recipe), shape_of(recipe)
    unlike = [
        f"its {name} is {found.get(name)}, the recipe says {asked.get(name)}"
        for name in {**asked, **found}
        if asked.get(name) != found.get(name)
    ]
    if unlike:
        return unlike
    try:
        split = split_of(recipe, tiles)
    except (DataError, LeakError) as err:
        return [f"its split {recipe.data.split} cannot be made from these tiles: {err}"]
    if training_key(recipe, tiles, split) != training_key(fold.recipe, tiles, fold.split):
        return [
            f"it was trained on other tiles ({recipe.data.split}, {split.train.size} tiles) than "
            f"fold {fold.name} asks ({fold.recipe.data.split}, {fold.split.train.size})"
        ]
    stepped = not is_solver(recipe.training.optimizer)
    if stepped and not _holds_tiles(folder, tiles, split.train):
        return [f"its {TILES_FILE} does not list the training tiles of its own recipe"]
    return []


def require_made_by(model: str, recipe: Recipe) -> None:
    """Refuse a bundle that another recipe made.

    Raises:
        ConfigError: With the first setting that differs.
        BundleError: If there is no such bundle.
    """
    made, asked = shape_of(read_card(model).recipe), shape_of(recipe)
    for name in {**asked, **made}:
        if asked.get(name) != made.get(name):
            raise ConfigError(
                f"--card {model} was made by another recipe: its {name} is {made.get(name)}, this "
                f"one says {asked.get(name)}"
            )


def _holds_tiles(folder: Path, tiles: HarveyTiles, rows: npt.NDArray[np.int64]) -> bool:
    listed = pd.read_parquet(folder / TILES_FILE, columns=MANIFEST_COLUMNS)
    expected = tiles.manifest.iloc[rows]
    own, theirs = (
        sorted(zip(frame["sha256"], frame["label"], frame["lon"], frame["lat"], strict=True))
        for frame in (listed, expected)
    )
    return own == theirs
