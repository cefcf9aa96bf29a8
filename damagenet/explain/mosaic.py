"""Maps of chips laid together on a scene's grid: a raster that lies on the map, built on disk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from damagenet.explain.explainer import Maps
from damagenet.explain.map_style import map_qml
from damagenet.explain.picture import FULL_PERCENTILE, Colours
from damagenet.outputs.atomic import appears
from damagenet.outputs.cog import BLOCK_PX, copy_as_cog, raster_errors
from data_prep.scene import Scene

SAMPLED = 2**22
"""Pixels of a map whose numbers say what full colour is."""


class Mosaic:
    """Sums and counts of maps, pixel by pixel of a scene, in a file that grows where chips lie."""

    def __init__(self, sums: DatasetWriter, scene: Scene) -> None:
        self._sums = sums
        self._scene = scene

    def add(self, window: Window, maps: Sequence[Maps], shown: NDArray[np.bool_]) -> None:
        """Add the maps of one chip.

        Args:
            window: Where it lies, in pixels of the scene; taken to the nearest whole ones.
            maps: One for each band, (S, S).
            shown: Where the chip shows ground, (S, S).
        """
        left, top = round(window.col_off), round(window.row_off)
        right = max(left + 1, round(window.col_off + window.width))
        bottom = max(top + 1, round(window.row_off + window.height))
        inside = (
            slice(max(0, -top), min(bottom, self._scene.height) - top),
            slice(max(0, -left), min(right, self._scene.width) - left),
        )
        size = (right - left, bottom - top)
        seen = _resized(shown.astype(np.float32), size)[inside] >= 0.5
        if not seen.any():
            return
        values = np.stack([*(_resized(one, size)[inside] for one in maps), np.ones_like(seen)])
        here = Window(max(0, left), max(0, top), seen.shape[1], seen.shape[0])
        self._sums.write(self._sums.read(window=here) + values * seen, window=here)

    def means(self) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Yield the mean of all maps block by block, float32 (bands, h, w), NaN where none lies."""
        for _, window in self._sums.block_windows(1):
            pixels = self._sums.read(window=window)
            count = pixels[-1:]
            if count.any():
                mean = np.full(pixels[:-1].shape, np.nan, np.float32)
                np.divide(pixels[:-1], count, out=mean, where=count > 0)
                yield window, mean


@contextmanager
def opened_mosaic(
    path: Path, scene: Scene, bands: Sequence[str], colours: Colours, said: Mapping[str, str]
) -> Iterator[Mosaic]:
    """Yield a mosaic to fill; when the block ends its means are at `path`, with a QGIS style.

    While it is filled it takes four bytes on disk for each pixel and band, and four more, where
    chips lie. If the block raises, nothing is at `path` that was not there.

    Args:
        path: A GeoTIFF to make, cloud-optimised, float32, NaN where no chip lies.
        scene: Whose grid it has.
        bands: What each band shows.
        colours: Of the style.
        said: Texts for its metadata.

    Raises:
        OutputError: If it cannot be written.
    """
    with appears(path) as temporary, raster_errors(path):
        place = temporary.with_name("sums.tif")
        with _create(place, scene, [*bands, "chips"], nodata=None) as sums:
            mosaic = Mosaic(sums, scene)
            yield mosaic
            plain = temporary.with_name("plain.tif")
            with _create(plain, scene, bands, nodata=float("nan")) as target:
                full = _write_means(mosaic, target, scene)
                target.update_tags(**said, full_colour=f"{full:.6g}")
        place.unlink()
        copy_as_cog(plain, temporary)
    with appears(path.with_suffix(".qml")) as temporary:
        temporary.write_text(map_qml(colours, full), encoding="utf-8")


def _write_means(mosaic: Mosaic, target: DatasetWriter, scene: Scene) -> float:
    """Write all blocks and return the number that is drawn in full colour."""
    step = max(1, ceil(sqrt(scene.width * scene.height / SAMPLED)))
    sample = []
    for window, mean in mosaic.means():
        target.write(mean, window=window)
        some = mean[:, ::step, ::step]
        sample.append(np.abs(some[np.isfinite(some)]))
    numbers = np.concatenate(sample) if sample else np.zeros(0, np.float32)
    return float(np.percentile(numbers, FULL_PERCENTILE)) if len(numbers) else 0.0


@contextmanager
def _create(
    path: Path, scene: Scene, bands: Sequence[str], *, nodata: float | None
) -> Iterator[DatasetWriter]:
    profile = {
        "driver": "GTiff",
        "width": scene.width,
        "height": scene.height,
        "count": len(bands),
        "dtype": "float32",
        "nodata": nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
        "interleave": "band",
    }
    if scene.crs is not None:
        profile["crs"] = scene.crs
    if scene.transform != Affine.identity():
        profile["transform"] = scene.transform
    with rasterio.open(path, "w+", **profile) as file:
        for number, band in enumerate(bands, start=1):
            file.set_band_description(number, band)
        yield file


def _resized(plane: Maps, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map in another size (width, height), anti-aliased where that is smaller."""
    if plane.shape == size[::-1]:
        return plane
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
