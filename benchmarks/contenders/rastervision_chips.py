"""Raster Vision as its documentation has it: a sliding-window dataset and a DataLoader.

https://docs.rastervision.io/en/0.31/usage/tutorials/lightning_workflow.html
Chips are not divided by 255, as the network takes pixels: that saves it a step.
"""

from collections.abc import Iterator
from importlib.metadata import version

import torch
from rastervision.pytorch_learner import ClassificationSlidingWindowGeoDataset
from torch.utils.data import DataLoader
from turns import answer, arguments


def main() -> None:
    """Answer the contest."""
    given = arguments()

    def opened() -> ClassificationSlidingWindowGeoDataset:
        return ClassificationSlidingWindowGeoDataset.from_uris(
            image_uri=str(given.scene), size=given.chip, stride=given.chip, normalize=False
        )

    def batches() -> Iterator[torch.Tensor]:
        loader = DataLoader(opened(), batch_size=given.batch_size, num_workers=given.workers)
        for images, _ in loader:
            yield images

    def places() -> Iterator[tuple[list[int], list[int]]]:
        for window in opened().windows:
            yield [window.ymin], [window.xmin]

    answer(given, f"rastervision {version('rastervision_core')}", batches, places)


if __name__ == "__main__":
    main()
