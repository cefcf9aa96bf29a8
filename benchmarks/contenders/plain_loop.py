"""A plain loop: one windowed read per chip by rasterio, batches, the network. Nothing written."""

from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from turns import answer, arguments


def windows(height: int, width: int, chip: int) -> list[Window]:
    """Return the windows of a grid that covers the scene, row by row."""
    return [
        Window(column, row, chip, chip)
        for row in range(0, height, chip)
        for column in range(0, width, chip)
    ]


def main() -> None:
    """Answer the contest."""
    given = arguments()

    def in_batches(size: tuple[int, int]) -> Iterator[list[Window]]:
        every = windows(*size, given.chip)
        for start in range(0, len(every), given.batch_size):
            yield every[start : start + given.batch_size]

    def batches() -> Iterator[torch.Tensor]:
        with rasterio.open(given.scene) as file:
            for some in in_batches(file.shape):
                chips = np.stack([file.read((1, 2, 3), window=window) for window in some])
                yield torch.from_numpy(chips).float()

    def places() -> Iterator[tuple[list[int], list[int]]]:
        with rasterio.open(given.scene) as file:
            for some in in_batches(file.shape):
                yield [each.row_off for each in some], [each.col_off for each in some]

    answer(given, f"loop over rasterio {version('rasterio')}", batches, places)


if __name__ == "__main__":
    main()
