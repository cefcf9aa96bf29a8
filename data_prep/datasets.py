"""The prepared tiles as torch wants them: one by one for training, all at once for scoring."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from damagenet.errors import DataError
from data_prep.augmentation import Augmentation
from data_prep.harvey import HarveyTiles

Index = npt.NDArray[np.int64]
Item = tuple[tuple[torch.Tensor, ...], torch.Tensor]


class TileDataset(Dataset[Item]):
    """Tiles of a split: item i is the tuple of images and the label of tile `index[i]`.

    The images are one uint8 tensor (3, 128, 128); the label is a float32 scalar, 1 for damaged.
    Items go on behind the last tile: of N tiles, item `i + N * epoch` is tile i as that epoch sees
    it. What the augmentation makes of it depends on the seed and on that number alone, whichever
    process asks and whatever it was asked before.

    Args:
        tiles: A prepared data set.
        index: Row numbers of the manifest.
        augmentation: From `build_augmentation`; None leaves the tiles as they are.
        seed: Of the augmentation.

    Raises:
        DataError: If the index is empty or reaches outside the data set; later, if the augmentation
            needs tiles of both classes and there is one alone.
    """

    def __init__(
        self,
        tiles: HarveyTiles,
        index: Index,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
    ) -> None:
        _check_index(tiles, index)
        self.tiles = tiles
        self.index = index
        self.augmentation = augmentation
        self.seed = seed
        labels = tiles.labels[index]
        self.labels = torch.from_numpy(labels.astype(np.float32))
        self._rows_of = [index[labels == label] for label in (0, 1)]

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Item]:
        """Yield every tile once, as the first epoch sees it; Python itself would never end."""
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Item:
        position = number % len(self.index)
        pixels = np.array(self.tiles.pixels[self.index[position]])
        if self.augmentation is not None:
            self.augmentation.reseed(_mixed(self.seed, number))
            pixels = self.augmentation(pixels, self._other(position, number))
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return (image,), self.labels[position]

    def _other(self, position: int, number: int) -> npt.NDArray[np.uint8] | None:
        """Return a tile of the other class where the augmentation needs one."""
        if self.augmentation is None or not self.augmentation.needs_other:
            return None
        rows = self._rows_of[1 - int(self.labels[position])]
        if not len(rows):
            raise DataError(
                f"augmentation {self.augmentation.name} needs tiles of both classes: the split has "
                "one alone"
            )
        drawn = np.random.default_rng((self.seed, number)).integers(len(rows))
        return np.array(self.tiles.pixels[rows[drawn]])


def _mixed(seed: int, number: int) -> int:
    """Return 64 bits that change wholly with either number."""
    low, high = np.random.SeedSequence((seed, number)).generate_state(2)
    return int(low) | int(high) << 32


def tile_tensor(tiles: HarveyTiles, index: Index) -> torch.Tensor:
    """Return tiles as one uint8 tensor (N, 3, 128, 128), 49 kB each, for scoring.

    Raises:
        DataError: If the index is empty or reaches outside the data set.
    """
    _check_index(tiles, index)
    out = np.empty((len(index), 3, *tiles.pixels.shape[1:3]), np.uint8)
    for position, row in enumerate(index):
        out[position] = tiles.pixels[row].transpose(2, 0, 1)
    return torch.from_numpy(out)


def _check_index(tiles: HarveyTiles, index: Index) -> None:
    if len(index) == 0:
        raise DataError("no tile to read: the split is empty")
    if index.min() < 0 or index.max() >= len(tiles):
        raise DataError(
            f"tile index reaches from {index.min()} to {index.max()}, the data set has "
            f"{len(tiles)} tiles: split the same data set that is read"
        )
