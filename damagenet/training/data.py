"""The tiles of a recipe's split, ready for a training, and what the bundle keeps of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.utils.data import DataLoader, DistributedSampler

from damagenet.errors import ConfigError, DataError, LeakError
from damagenet.recipe import Recipe
from damagenet.training.hardware import Hardware
from data_prep.augmentation import Augmentation, build_augmentation
from data_prep.datasets import Item, TileDataset
from data_prep.harvey import HarveyTiles
from data_prep.splits import Split, split_tiles
from data_prep.tile_ground import shares_ground

ROWS_AT_ONCE = 512
MANIFEST_COLUMNS = ["lon", "lat", "label", "sha256"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """The tiles of one training.

    Attributes:
        tiles: The prepared data set.
        split: Which rows train and which choose the epoch.
        augmentation: What changes the training tiles.
        balance: What is drawn equally often, as in `data.balance`.
    """

    tiles: HarveyTiles
    split: Split
    augmentation: Augmentation
    balance: str = "none"

    @property
    def manifest(self) -> pd.DataFrame:
        """Longitude, latitude, label and hash of the training tiles, in the bundle's columns."""
        rows = self.tiles.manifest.iloc[self.split.train]
        return rows[MANIFEST_COLUMNS].reset_index(drop=True)

    @property
    def class_prior(self) -> float:
        """Share of damaged tiles among the training tiles."""
        return float(self.tiles.labels[self.split.train].mean())

    def train_loader(
        self, *, batch_size: int, seed: int, hardware: Hardware, rank: int = 0
    ) -> "DataLoader[Item]":
        """Return one process's share of shuffled, augmented batches.

        Batches depend on seed and epoch alone: each process takes its part of the same ones.

        Args:
            batch_size: Tiles of a batch, of all processes together; at most all there are.
            seed: Of order and augmentation.
            hardware: On how many processes.
            rank: Which of them this is.

        Raises:
            ConfigError: If the processes cannot share a batch evenly.
        """
        dataset = TileDataset(self.tiles, self.split.train, self.augmentation, seed=seed)
        share = hardware.share_of(min(batch_size, len(dataset)))
        dealt: dict[str, Any] = {"num_replicas": hardware.processes, "rank": rank, "seed": seed}
        dealt["drop_last"] = True
        if self.balance == "none":
            sampler = Shuffled(dataset, **dealt)
        else:
            sampler = Balanced(dataset, self._weights(), **dealt)
        # The last, short batch is dropped.
        return DataLoader(
            dataset, batch_size=share, sampler=sampler, drop_last=True, **_loading(hardware)
        )

    def _weights(self) -> npt.NDArray[np.float64]:
        """Return how often each training tile is drawn: classes alike, and groups within them."""
        rows = self.tiles.manifest.iloc[self.split.train]
        groups = rows.groupby(["label", self.balance], dropna=False)["label"]
        sizes = groups.transform("size").to_numpy()
        of_class = rows["label"].map(groups.size().groupby(level=0).size()).to_numpy()
        return np.asarray(1.0 / (sizes * of_class), np.float64)

    def validation_loader(
        self, *, batch_size: int, hardware: Hardware, rank: int = 0
    ) -> "DataLoader[Item]":
        """Return one process's share of the validation tiles, unchanged; none is in two shares.

        Raises:
            ConfigError: If there are more processes than tiles.
        """
        dataset = TileDataset(self.tiles, self.split.validation, None)
        if len(dataset) < hardware.processes:
            raise ConfigError(
                f"{len(dataset)} validation tiles are too few for {hardware.processes} processes: "
                "name fewer --devices or --nodes"
            )
        share = range(rank, len(dataset), hardware.processes)
        return DataLoader(dataset, batch_size=batch_size, sampler=share, **_loading(hardware))


class Shuffled(DistributedSampler[int]):
    """One process's share of the tiles in an order of the epoch, as numbers of `TileDataset`.

    Torch deals the same order out to the processes like cards, so that their n-th batches together
    are the n-th batch of a single process.
    """

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * len(self.dataset)  # type: ignore[arg-type]  # torch: may lack a length
        return (first + position for position in super().__iter__())


class Balanced(Shuffled):
    """The same with tiles drawn by weight, with replacement: the epoch stays as long as it was."""

    def __init__(
        self, dataset: TileDataset, weights: npt.NDArray[np.float64], **dealt: Any
    ) -> None:
        super().__init__(dataset, **dealt)
        self._by_weight = torch.from_numpy(weights)

    def __iter__(self) -> Iterator[int]:
        random = torch.Generator().manual_seed(self.seed + self.epoch)
        drawn = torch.multinomial(self._by_weight, self.total_size, True, generator=random)
        first = self.epoch * len(self._by_weight)
        own = drawn[self.rank : self.total_size : self.num_replicas].tolist()
        return (first + position for position in own)


def _loading(hardware: Hardware) -> dict[str, Any]:  # Any: mixed keyword arguments of DataLoader
    """Return how batches are loaded: beside the network on a GPU, in its own process on a CPU."""
    if not hardware.on_gpu:
        return {"num_workers": 0}
    return {"num_workers": 8, "pin_memory": True, "persistent_workers": True}


def open_training_data(recipe: Recipe, tiles: HarveyTiles | None = None) -> TrainingData:
    """Open the prepared tiles of a recipe, unless they are given, and split them.

    Raises:
        ConfigError: If the split or the augmentation is unknown.
        DataError: If the data set is missing or incomplete, a part of the split is empty, or
            training or validation lacks a class.
        LeakError: If the split leaks and the recipe does not allow it.
    """
    augmentation = build_augmentation(recipe.data.augmentation, recipe.training.seed)
    tiles = HarveyTiles.open(recipe.data.path) if tiles is None else tiles
    split = split_tiles(
        tiles,
        recipe.data.split,
        exclude_ground=recipe.data.exclude_ground,
        allow_leak=recipe.data.allow_leak,
        limit=recipe.data.limit,
        seed=recipe.training.seed,
    )
    # The threshold is fitted on the validation part: better refused now than hours later.
    if len(np.unique(tiles.labels[split.validation])) < 2:
        raise DataError(
            f"the validation part of split {split.name!r} lacks a class: choose another split"
        )
    return TrainingData(
        tiles=tiles, split=split, augmentation=augmentation, balance=recipe.data.balance
    )


def require_test_apart(data: TrainingData, *, allow_leak: bool) -> None:
    """Refuse what is chosen on validation where validation shows files or ground of the test.

    Args:
        data: The split.
        allow_leak: Accept it.

    Raises:
        LeakError: If they share any, with the counts.
    """
    manifest, split = data.tiles.manifest, data.split
    chosen_on, test = manifest.iloc[split.validation], manifest.iloc[split.test]
    copies = int(chosen_on["sha256"].isin(test["sha256"]).sum())
    shared = int(shares_ground(chosen_on, test).sum())
    if (copies or shared) and not allow_leak:
        raise LeakError(
            f"split {split.name!r}: of {len(chosen_on)} validation tiles {copies} are byte copies "
            f"of a test tile and {shared} share ground with one, and settings are chosen on them: "
            "take 'region:NAME', or allow the leak by name (data.allow_leak: true)"
        )


def pixel_statistics(
    pixels: npt.NDArray[np.uint8], index: npt.NDArray[np.int64]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and standard deviation of red, green and blue, in 0..255.

    Args:
        pixels: uint8 (N, H, W, 3).
        index: Rows that count.
    """
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(index), ROWS_AT_ONCE):
        rows = pixels[index[start : start + ROWS_AT_ONCE]]
        for band in range(3):
            counts[band] += np.bincount(rows[..., band].ravel(), minlength=256)
    values = np.arange(256)
    mean = counts @ values / counts.sum(axis=1)
    std = np.sqrt(counts @ values**2 / counts.sum(axis=1) - mean**2)
    # Pictures of one flat colour would divide by zero.
    red, green, blue = (float(value) for value in np.maximum(std, 1.0))
    return (float(mean[0]), float(mean[1]), float(mean[2])), (red, green, blue)
