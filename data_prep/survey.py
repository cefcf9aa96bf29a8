"""Look at a whole scene cheaply: from overviews where there are any, else from a sample."""

import numpy as np
from rasterio.windows import Window

from data_prep.depth import DepthScale, fit_scale
from data_prep.pixels import PixelSource

SURVEY_SIDE_PX = 1024
"""Longer side of the decimated scene that percentiles are taken from."""
WHOLE_READ_PX = 64 * 2**20
"""A scene without overviews is decimated whole up to this size, else sampled in blocks."""
SAMPLE_BLOCKS = 16
SAMPLE_BLOCK_PX = 128
"""A sample is this many blocks each way, of this side in pixels."""


def decimated(source: PixelSource, max_side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scene at most `max_side_px` long: uint8 (3, h, w) and valid (h, w)."""
    return source.read(_everything(source), decimated_size(source, max_side_px))


def valid_share(source: PixelSource) -> float:
    """Return the share of pixels with a picture, 0..1: from overviews, or else from a sample."""
    if _is_quick(source):
        size = decimated_size(source, SURVEY_SIDE_PX)
        return float(source.read_raw(_everything(source), size)[1].mean())
    windows = _sample_windows(source.dataset.width, source.dataset.height)
    return float(np.mean([source.read_raw(window)[1].mean() for window in windows]))


def sample(source: PixelSource) -> np.ndarray:
    """Return valid pixels (3, n) from all over the scene, from overviews where there are any."""
    if _is_quick(source):
        raw, valid = source.read_raw(_everything(source), decimated_size(source, SURVEY_SIDE_PX))
        return raw[:, valid]
    return stored_sample(source)


def stored_sample(source: PixelSource) -> np.ndarray:
    """Return valid pixels (3, n) as they are in the file, never averaged, from all over it."""
    windows = _sample_windows(source.dataset.width, source.dataset.height)
    blocks = [source.read_raw(window) for window in windows]
    return np.concatenate([raw[:, valid] for raw, valid in blocks], axis=1)


def scene_scale(file: PixelSource, north_up: PixelSource) -> DepthScale | None:
    """Return the scale from stored pixels to 8 bits for a whole scene; None if they are 8-bit.

    Args:
        file: The pixels as they are in the file.
        north_up: The same on the scene's grid, perhaps warped.
    """
    band = file.choice.indexes[0]
    if file.choice.palette is not None or file.dataset.dtypes[band - 1] == "uint8":
        return None
    bits = file.dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS")
    return fit_scale(sample(north_up), stored_sample(file), int(bits) if bits else None)


def _is_quick(source: PixelSource) -> bool:
    """Tell whether the whole scene can be decimated in a moment."""
    dataset = source.dataset
    small = dataset.width * dataset.height <= WHOLE_READ_PX
    return small or bool(dataset.overviews(source.choice.indexes[0]))


def _everything(source: PixelSource) -> Window:
    return Window(0, 0, source.dataset.width, source.dataset.height)


def decimated_size(source: PixelSource, max_side_px: int) -> tuple[int, int]:
    """Return height and width in pixels of the scene decimated to a longer side."""
    height, width = source.dataset.height, source.dataset.width
    factor = max(1.0, max(height, width) / max_side_px)
    return max(1, round(height / factor)), max(1, round(width / factor))


def _sample_windows(width: int, height: int) -> list[Window]:
    """Return blocks on a regular lattice over the scene."""

    def starts(length: int) -> list[int]:
        last = max(0, length - SAMPLE_BLOCK_PX)
        return sorted(
            {round(number * last / (SAMPLE_BLOCKS - 1)) for number in range(SAMPLE_BLOCKS)}
        )

    return [
        Window(left, top, min(SAMPLE_BLOCK_PX, width), min(SAMPLE_BLOCK_PX, height))
        for top in starts(height)
        for left in starts(width)
    ]
