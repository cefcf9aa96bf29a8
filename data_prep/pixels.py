"""Read rectangles of a north-up dataset as uint8 RGB with a mask of what is valid."""

from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from data_prep.bands import BandChoice
from data_prep.depth import DepthScale

FILL_VALUES = (0, 255, 65535)
"""Nodata values that are colours too: a pixel is empty only where all three bands hold them."""


def read_mask(
    dataset: DatasetReader | WarpedVRT, band: int, window: Window, shape: tuple[int, int]
) -> np.ndarray:
    """Return where a band is valid by its mask or alpha band, bool of this shape.

    GDAL takes an alpha band for the mask only in files of 2 or 4 bands; here it always counts.
    """
    if MaskFlags.all_valid not in dataset.mask_flag_enums[band - 1]:
        return np.asarray(dataset.read_masks(band, window=window, out_shape=shape) > 0)
    if ColorInterp.alpha in dataset.colorinterp:
        alpha = dataset.colorinterp.index(ColorInterp.alpha) + 1
        return np.asarray(dataset.read(alpha, window=window, out_shape=shape) > 0)
    return np.ones(shape, bool)


def is_by_nodata(dataset: DatasetReader | WarpedVRT, band: int) -> bool:
    """Whether one number of a band means that there is no picture.

    GDAL's flag alone does not say so: it also stands for three numbers together, one of each band
    (the tag NODATA_VALUES), which no single band has.
    """
    flagged = MaskFlags.nodata in dataset.mask_flag_enums[band - 1]
    return flagged and dataset.nodatavals[band - 1] is not None


def is_silent(dataset: DatasetReader | WarpedVRT, choice: BandChoice) -> bool:
    """Whether a file says nothing of where it holds no picture: black in all bands is none then.

    Scenes are often delivered so, with a black collar around slanting ground, which a network
    takes for water.
    """
    if choice.palette is not None or ColorInterp.alpha in dataset.colorinterp:
        return False
    flags = dataset.mask_flag_enums[choice.indexes[0] - 1]
    by_all_bands = MaskFlags.nodata in flags and not is_by_nodata(dataset, choice.indexes[0])
    return MaskFlags.all_valid in flags or by_all_bands


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSource:
    """The pixels of one scene, brought to uint8 RGB."""

    dataset: DatasetReader | WarpedVRT
    choice: BandChoice
    scale: DepthScale | None = None
    """None for pixels that are 8-bit already."""
    black_is_nothing: bool = False
    """Whether pixels that are 0 in all three bands are no picture; see `is_silent`."""

    def read(
        self, window: Window, out_size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return uint8 (3, h, w) and the valid mask (h, w), True where there is a picture.

        Args:
            window: Whole pixels, inside the dataset.
            out_size: Height and width to decimate to (nearest pixel, from overviews).
        """
        raw, valid = self.read_raw(window, out_size)
        if self.choice.palette is not None:
            return np.ascontiguousarray(self.choice.palette[raw[0], :3].transpose(2, 0, 1)), valid
        return (raw if self.scale is None else self.scale.apply(raw)), valid

    def read_raw(
        self, window: Window, out_size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the three bands as stored, (3, h, w), and the valid mask (h, w)."""
        shape = out_size or (int(window.height), int(window.width))
        masked = self._masked(window, shape)
        if masked is not None and not masked.any():
            # A mask is decoded in a fraction of the time of what it hides.
            return self._nothing(shape), masked
        indexes = self.choice.indexes
        if len(set(indexes)) == 1:
            one = self.dataset.read(
                indexes[0], window=window, out_shape=shape, resampling=Resampling.nearest
            )
            raw = np.broadcast_to(one, (3, *one.shape))
        else:
            raw = self.dataset.read(
                list(indexes), window=window, out_shape=(3, *shape), resampling=Resampling.nearest
            )
        return raw, self._valid(raw, masked)

    def _masked(self, window: Window, shape: tuple[int, int]) -> np.ndarray | None:
        """Return what a mask or an alpha band says, (h, w), or None where there is neither."""
        if not self._by_nodata:
            return read_mask(self.dataset, self.choice.indexes[0], window, shape)
        if ColorInterp.alpha not in self.dataset.colorinterp:
            return None
        # GDAL asks nodata alone where a file has both.
        alpha = self.dataset.colorinterp.index(ColorInterp.alpha) + 1
        return np.asarray(self.dataset.read(alpha, window=window, out_shape=shape) > 0)

    @property
    def _by_nodata(self) -> bool:
        return is_by_nodata(self.dataset, self.choice.indexes[0])

    def _nothing(self, shape: tuple[int, int]) -> np.ndarray:
        kind = self.dataset.dtypes[self.choice.indexes[0] - 1]
        return np.zeros((3, *shape), kind)

    def _valid(self, raw: np.ndarray, masked: np.ndarray | None) -> np.ndarray:
        valid = np.ones(raw.shape[1:], bool) if masked is None else masked
        if self._by_nodata:
            valid &= self._holds_data(raw)
        if self.black_is_nothing:
            valid &= raw.any(axis=0)
        if np.issubdtype(raw.dtype, np.floating):
            valid &= np.isfinite(raw).all(axis=0)
        if self.choice.palette is not None:
            valid &= self.choice.palette[raw[0], 3] > 0
        return valid

    def _holds_data(self, raw: np.ndarray) -> np.ndarray:
        nodata = self.dataset.nodatavals[self.choice.indexes[0] - 1]
        combine = np.any if nodata in FILL_VALUES else np.all
        return np.asarray(combine(raw != nodata, axis=0))
