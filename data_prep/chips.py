"""Cut chips out of what was read of a scene: copied, or resampled once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from rasterio.windows import Window

from data_prep.reads import Box, Read, common_box, footprint, is_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Chips:
    """Model-ready pixels of N windows."""

    images: tuple[np.ndarray, ...]
    """One array per input picture: uint8 (N, 3, S, S), RGB, zero where not valid."""
    valid: np.ndarray
    """bool (N, S, S): True where there is a picture, in every one of the inputs."""
    scene_valid: np.ndarray | None = None
    """bool (N, S, S): True where the scene has one, the first input; None where `valid` says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawChips:
    """The pixels of N windows as they were read; made into chips in any thread."""

    windows: Sequence[Window]
    reads: Sequence[Read]
    size_px: int
    raster: Box

    def cut(self) -> Chips:
        """Return the chips; what lies outside the raster is zero and not valid.

        Chips of whole pixels in one box come out the same as chip by chip, in half the time.
        """
        whole = common_box(self.windows, self.size_px, self.raster) is not None
        if whole and self.reads:
            return _copied_at_once(self.reads[0], self.windows, self.size_px)
        count, size = len(self.windows), self.size_px
        images = np.zeros((count, 3, size, size), np.uint8)
        valid = np.zeros((count, size, size), bool)
        for read in self.reads:
            for number in read.members:
                put = _copy if is_whole(self.windows[number], size) else _resample
                put(read, self.windows[number], images[number], valid[number])
        return Chips(images=(images,), valid=valid)


def _copied_at_once(read: Read, windows: Sequence[Window], size_px: int) -> Chips:
    shown = read.pixels if read.valid.all() else read.pixels * read.valid
    images = np.empty((len(windows), 3, size_px, size_px), np.uint8)
    valid = np.empty((len(windows), size_px, size_px), bool)
    for number, window in enumerate(windows):
        row, col = int(window.row_off) - read.box.top, int(window.col_off) - read.box.left
        part = slice(row, row + size_px), slice(col, col + size_px)
        images[number], valid[number] = shown[:, *part], read.valid[part]
    return Chips(images=(images,), valid=valid)


def _copy(read: Read, window: Window, image: np.ndarray, valid: np.ndarray) -> None:
    whole = footprint(window, image.shape[-1])
    part = whole.intersection(read.box)
    here, there = part.within(read.box), part.within(whole)
    usable = read.valid[here]
    valid[there] = usable
    if usable.all():
        image[:, *there] = read.pixels[:, *here]
    else:
        image[:, *there] = read.pixels[:, *here] * usable


def _resample(read: Read, window: Window, image: np.ndarray, valid: np.ndarray) -> None:
    """Resample one window, anti-aliased; invalid pixels lend no colour to their neighbours."""
    size = image.shape[-1]
    around = footprint(window, size)
    crop, usable = _crop(read, around)
    left, top = window.col_off - around.left, window.row_off - around.top
    box = (left, top, left + window.width, top + window.height)
    if not usable.any():
        return
    picture = Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0)))
    # Bicubic comes nearest to the tiles' sharpness, measured on xBD scenes of the same pass.
    resized = picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    image[:] = np.asarray(resized).transpose(2, 0, 1)
    valid[:] = True
    if not usable.all():
        _mend_edges(crop, usable, box, image, valid)


def _mend_edges(
    crop: np.ndarray,
    usable: np.ndarray,
    box: tuple[float, float, float, float],
    image: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Make anew the pixels whose filter reached over the edge of what is valid."""
    size = image.shape[-1]
    valid[:] = _resize(usable, size, box, Image.Resampling.BOX) >= 0.5
    weight = np.maximum(_resize(usable, size, box, Image.Resampling.BILINEAR), 1e-3)
    reached = np.abs(_resize(usable, size, box, Image.Resampling.BICUBIC) - 1) > 1e-5
    for band in range(3):
        mean = _resize(crop[band] * usable, size, box, Image.Resampling.BILINEAR) / weight
        image[band][reached] = np.clip(mean + 0.5, 0, 255)[reached]
    image *= valid


def _resize(
    plane: np.ndarray,
    size: int,
    box: tuple[float, float, float, float],
    method: Image.Resampling,
) -> np.ndarray:
    picture = Image.fromarray(plane.astype(np.float32))
    return np.asarray(picture.resize((size, size), method, box=box))


def _crop(read: Read, around: Box) -> tuple[np.ndarray, np.ndarray]:
    """Cut a footprint out of what was read, padded where it reaches over the raster's edge."""
    part = around.intersection(read.box)
    here, there = part.within(read.box), part.within(around)
    if part == around:
        return read.pixels[:, *here], read.valid[here]
    height, width = around.bottom - around.top, around.right - around.left
    crop, usable = np.zeros((3, height, width), np.uint8), np.zeros((height, width), bool)
    crop[:, *there], usable[there] = read.pixels[:, *here], read.valid[here]
    return crop, usable
