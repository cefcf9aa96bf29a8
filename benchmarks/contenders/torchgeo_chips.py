"""TorchGeo as its documentation has it: RasterDataset, GridGeoSampler, DataLoader.

https://torchgeo.readthedocs.io/en/v0.8.1/tutorials/custom_raster_dataset.html
"""

from collections.abc import Iterator
from typing import ClassVar

import rasterio
import torch
import torchgeo
from shapely import box
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler
from turns import answer, arguments


def main() -> None:
    """Answer the contest."""
    given = arguments()

    class Scene(RasterDataset):
        filename_glob = given.scene.name
        is_image = True
        separate_files = False
        all_bands: ClassVar[tuple[str, ...]] = ("R", "G", "B")

    def opened() -> tuple[Scene, GridGeoSampler]:
        dataset = Scene(given.scene.parent)
        x, y, _ = dataset.bounds
        # A hundredth of a pixel less, or rounding gives it a 49th column that lies outside.
        inside = box(x.start, y.start, x.stop - x.step / 100, y.stop - y.step / 100)
        return dataset, GridGeoSampler(dataset, size=given.chip, stride=given.chip, roi=inside)

    def batches() -> Iterator[torch.Tensor]:
        dataset, sampler = opened()
        loader = DataLoader(
            dataset,
            batch_size=given.batch_size,
            sampler=sampler,
            num_workers=given.workers,
            collate_fn=stack_samples,
        )
        for batch in loader:
            yield batch["image"]

    def places() -> Iterator[tuple[list[int], list[int]]]:
        _, sampler = opened()
        with rasterio.open(given.scene) as file:
            for x, y, _ in sampler:
                column, row = ~file.transform @ (x.start, y.stop)
                yield [round(row)], [round(column)]

    answer(given, f"torchgeo {torchgeo.__version__}", batches, places)


if __name__ == "__main__":
    main()
