"""Where cloud, thick haze or too much light hides the ground of chips, from their colours alone.

A veil follows Koschmieder (1924), `I = J t + A (1 - t)`: what is seen of the ground J falls with
the transmission t, and A, bright and near grey, takes its place. So behind thick cloud nothing is
dark in any band (the dark channel of He, Sun and Tang 2011), colours are pale (the whiteness test
of Gomez-Chova et al. 2007 and Zhu and Woodcock 2012), and contrasts are low. Nothing is asked of
other bands or of the rest of the scene. Flood water is bright and even as well, but brown; roofs
are pale as well, but seldom fill most of a window without anything dark in it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SPOT_PX = 4
"""Side of the squares that are averaged first, so that the sensor's noise counts little."""
BLOCK_PX = 16
"""Side of the squares, about 8 m, that are called veiled or not."""
CLIPPED = 250 / 255
"""Share of full scale from which a spot is clipped: JPEG and resampling move 255 a little."""
TOGETHER = 16
"""Chips looked at in one go: all that is made of them stays in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VeilModel:
    """A logistic model of a veiled block: under a quarter of the ground's signal comes through.

    The weights are those of the figures of `BlockLooks`.
    """

    bias: float
    darkest: float
    colour: float
    contrast: float

    def odds(self, looks: "BlockLooks") -> Floats:
        """Return the logarithm of the odds that each block is veiled, float32 (N, n, n)."""
        return np.asarray(
            self.bias
            + self.darkest * looks.darkest
            + self.colour * looks.colour
            + self.contrast * looks.contrast,
            np.float32,
        )


VEIL = VeilModel(bias=-7.79, darkest=16.98, colour=-22.07, contrast=-0.99)
"""Fitted by `python benchmarks/clouds_fit.py` to made skies over the scenes named there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLooks:
    """What the blocks of N chips look like, n x n of them; each float32 (N, n, n).

    Attributes:
        darkest: Lowest value of any band in any spot, 0..1; 0 where no spot is valid.
        colour: Saturation of the mean colour (HSV: largest less smallest band, as a share of the
            largest), 0..1.
        contrast: Natural logarithm of half an 8-bit step plus the deviation of green over spots.
    """

    darkest: Floats
    colour: Floats
    contrast: Floats

    @classmethod
    def of(cls, spots: Floats, valid: Mask | None) -> "BlockLooks":
        """Look at spots.

        Args:
            spots: Their RGB, 0..1, float32 (16, N, 3, n, n), block by block.
            valid: Which of them count, bool (16, N, 1, n, n); None where all do.
        """
        mean = _mean(spots, valid)
        deviation = np.square(spots[:, :, 1:2] - mean[:, 1:2])
        spread = np.sqrt(_mean(deviation, valid)[:, 0])
        lowest = (spots if valid is None else np.where(valid, spots, np.float32(1))).min(axis=0)
        highest = mean.max(axis=1)
        return cls(
            # No band of any spot is above the largest band of the mean: 0 where none is valid.
            darkest=np.minimum(lowest.min(axis=1), highest),
            colour=(highest - mean.min(axis=1)) / np.maximum(highest, np.float32(1e-6)),
            contrast=np.log(np.float32(0.5) + 255 * spread),
        )


def seen_ground(image: NDArray[np.uint8], valid: Mask) -> Mask:
    """Return where chips show ground that neither cloud, thick haze nor too much light hides.

    Args:
        image: RGB, uint8 (N, 3, S, S).
        valid: Where they show a picture, bool (N, S, S).

    Returns:
        `valid` without veiled blocks and clipped spots, bool (N, S, S); `valid` itself where
        nothing is hidden.
    """
    side, seen = image.shape[-1], valid
    for start in range(0, len(image), TOGETHER):
        some = slice(start, start + TOGETHER)
        hidden = hidden_spots(image[some], valid[some])
        if hidden.any():
            seen = valid.copy() if seen is valid else seen
            pixels = hidden.repeat(SPOT_PX, axis=1).repeat(SPOT_PX, axis=2)
            seen[some] &= ~pixels[:, :side, :side]
    return seen


def hidden_spots(image: NDArray[np.uint8], valid: Mask) -> Mask:
    """Return which spots of chips are hidden; those that are not wholly valid count for nothing.

    A spot is clipped where at least two of its bands are: one alone, as on yellow or blue roofs,
    leaves brightness and shape to be seen.

    Args:
        image: RGB, uint8 (N, 3, S, S).
        valid: Where they show a picture, bool (N, S, S).

    Returns:
        bool (N, m, m): the spots of as many blocks as cover S pixels.
    """
    spots, whole = _spots(image, valid)
    veiled = VEIL.odds(BlockLooks.of(spots, whole)) > 0
    red, green, blue = (spots[:, :, band] >= CLIPPED for band in range(3))
    return _by_place((red & green) | (red & blue) | (green & blue) | veiled)


def look_at_blocks(image: NDArray[np.uint8], valid: Mask) -> BlockLooks:
    """Return what the blocks of chips look like; for fitting and measuring.

    Args:
        image: RGB, uint8 (N, 3, S, S).
        valid: Where they show a picture, bool (N, S, S).
    """
    return BlockLooks.of(*_spots(image, valid))


def _spots(image: NDArray[np.uint8], valid: Mask) -> tuple[Floats, Mask | None]:
    """Return the spots of chips, (16, N, 3, n, n), and which are wholly valid; None for all."""
    more = -image.shape[-1] % BLOCK_PX
    if more:
        # The last block of such a chip is seen as if its edge went on.
        image = np.pad(image, ((0, 0), (0, 0), (0, more), (0, more)), mode="edge")
        valid = np.pad(valid, ((0, 0), (0, more), (0, more)), mode="edge")
    spots = _by_block(_spot_means(image))
    if valid.all():
        return spots, None
    return spots, _by_block(_spot_means(valid[:, None] * np.uint8(255))) == 1


def _spot_means(image: NDArray[np.uint8]) -> Floats:
    """Return the means over 8 of the 16 pixels of spots, 0..1, (N, C, S, S) to (N, C, S/4, S/4).

    Every other row is enough, and whole rows are added fast.
    """
    sums = []
    for band in range(image.shape[1]):
        plane = image[:, band]
        rows = np.add(plane[:, 0::SPOT_PX], plane[:, 2::SPOT_PX], dtype=np.uint16)
        first, second, third, fourth = (rows[..., start::SPOT_PX] for start in range(SPOT_PX))
        sums.append(first + second + third + fourth)
    return np.stack(sums, axis=1) * np.float32(1 / (8 * 255))


def _by_block(spots: Floats) -> Floats:
    """Bring the spots of each block to the front, (N, C, m, m) to (16, N, C, m/4, m/4)."""
    chips, bands, side, _ = spots.shape
    each = BLOCK_PX // SPOT_PX
    blocks = side // each
    parts = spots.reshape(chips, bands, blocks, each, blocks, each).transpose(3, 5, 0, 1, 2, 4)
    return parts.reshape(each**2, chips, bands, blocks, blocks)


def _by_place(spots: Mask) -> Mask:
    """Bring the spots of each block back to their places, (16, N, n, n) to (N, 4 n, 4 n)."""
    _, chips, blocks, _ = spots.shape
    each = BLOCK_PX // SPOT_PX
    parts = spots.reshape(each, each, chips, blocks, blocks).transpose(2, 3, 0, 4, 1)
    return parts.reshape(chips, blocks * each, blocks * each)


def _mean(values: Floats, valid: Mask | None) -> Floats:
    """Return the mean over the first axis of what is valid; 0 where nothing is."""
    if valid is None:
        return np.asarray(values.mean(axis=0))
    counts = np.maximum(valid.sum(axis=0), 1)
    return np.asarray((values * valid).sum(axis=0) / counts, np.float32)
