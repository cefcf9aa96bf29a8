"""How far one picture is shifted against another of the same ground, block by block.

Orientation correlation (Fitch et al. 2002): what is matched is the direction of edges, not
brightness, so that flood, season and sun count little. The angle is doubled, so that a road which
was darker than the lawns beside it, and is brighter under water, still matches. The square root of
the spectrum's magnitude is divided out (generalised cross-correlation, Knapp and Carter 1976),
which sharpens peaks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

BLOCK_PX = 192
"""Side of the blocks that are matched, at most that of what is given."""
STEP_PX = 64
"""From one block to the next."""
REACH_PX = 64
"""Shifts looked for, in each direction, at most a third of a block."""
AGREE_PX = 3.0
"""A block agrees whose own peak lies this near the common one, on both axes."""
LEAST_AGREED = 3
LEAST_SHARE = 0.15
"""Number and share of the blocks that must agree: pictures of other ground reach 0.08, the hardest
real pair (scene 003 of xBD, high-rises seen from two sides) 0.27."""
CLEAR_PEAK = 6.5
"""Height of the common peak, in deviations of the mean surface; other ground reaches 6.0."""
ALONE_PEAK = 10.0
"""The same where fewer blocks than `LEAST_AGREED` can tell."""
LEAST_VALID = 0.5
"""Weight of a block's valid pixels that it takes to count."""
FAINT_EDGE = 2.0
"""Gradient in 8-bit steps a pixel at which an edge counts a half: noise of flat ground is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelShift:
    """Where the second picture shows what the first one shows, in pixels of the blocks.

    Attributes:
        right: Columns to the right.
        down: Rows down.
        spread: Median distance of the agreeing blocks from it.
        blocks: Blocks with enough picture to be matched.
        agreed: Those whose own shift agrees with the common one.
        found: False where too few agree: then it means nothing.
    """

    right: float
    down: float
    spread: float
    blocks: int
    agreed: int
    found: bool


def find_shift(
    first: NDArray[np.uint8], second: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> PixelShift:
    """Return the shift that the blocks of two pictures, cut out of their patches, have in common.

    The mean of all blocks' correlations says where the common peak is, also where no single block
    could; the median over the blocks that agree says it to a fraction of a pixel.

    Args:
        first: Patches of one picture, uint8 (N, 3, S, S).
        second: The same places in the other.
        valid: Where both have a picture, bool (N, S, S).
    """
    surfaces = [
        surface for patch in zip(first, second, valid, strict=True) for surface in _surfaces(*patch)
    ]
    if not surfaces:
        return PixelShift(right=0.0, down=0.0, spread=0.0, blocks=0, agreed=0, found=False)
    mean = np.mean(surfaces, axis=0)
    common = np.array(_peak(mean))
    own = np.array([_peak(surface) for surface in surfaces])
    agree = (np.abs(own - common) <= AGREE_PX).all(axis=1)
    agreed = int(agree.sum())
    shift = np.median(own[agree], axis=0) if agreed else common
    spread = np.median(np.hypot(*(own[agree] - shift).T)) if agreed else 0.0
    return PixelShift(
        right=float(shift[0]),
        down=float(shift[1]),
        spread=float(spread),
        blocks=len(surfaces),
        agreed=agreed,
        found=_clear(mean, blocks=len(surfaces), agreed=agreed),
    )


def _blocks(side: int) -> list[tuple[slice, slice]]:
    """Return rows and columns of the blocks of a patch, from edge to edge."""
    block = min(BLOCK_PX, side)
    steps = -(-(side - block) // STEP_PX)
    starts = [round((side - block) * number / max(steps, 1)) for number in range(steps + 1)]
    parts = [slice(start, start + block) for start in starts]
    return [(rows, columns) for rows in parts for columns in parts]


def _clear(mean: Floats, *, blocks: int, agreed: int) -> bool:
    height = float((mean.max() - mean.mean()) / mean.std())
    if blocks < LEAST_AGREED:
        return agreed == blocks and height >= ALONE_PEAK
    enough = agreed >= max(LEAST_AGREED, LEAST_SHARE * blocks)
    return enough and height >= CLEAR_PEAK


def _surfaces(first: NDArray[np.uint8], second: NDArray[np.uint8], valid: Mask) -> Iterator[Floats]:
    """Yield the correlations by shift of the blocks of one patch that have enough to match."""
    edges = [_edges(picture, valid) for picture in (first, second)]
    inside = _inside(valid)
    for block in _blocks(len(valid)):
        # Hann: what is near the middle is in both blocks also when they are shifted.
        hann = np.hanning(block[0].stop - block[0].start)
        window = np.outer(hann, hann).astype(np.float32)
        weight = window * inside[block]
        if weight.sum() < LEAST_VALID * window.sum():
            continue
        spectra = [np.fft.fft2(one[block] * weight).astype(np.complex64) for one in edges]
        surface = _surface(np.conj(spectra[0]) * spectra[1])
        if surface is not None:
            yield surface


def _surface(product: NDArray[np.complex64]) -> Floats | None:
    """Return a correlation by shift, zero in the middle, of its spectrum; None of flat pictures."""
    side, magnitude = len(product), np.sqrt(np.abs(product))
    if not magnitude.any():
        return None
    whitened = np.divide(product, magnitude, out=np.zeros_like(product), where=magnitude > 0)
    reach = min(REACH_PX, side // 3)
    middle = slice(side // 2 - reach, side // 2 + reach + 1)
    surface = np.fft.fftshift(np.fft.ifft2(whitened).real)[middle, middle]
    return np.asarray(surface / surface.std(), np.float32)


def _edges(picture: NDArray[np.uint8], valid: Mask) -> NDArray[np.complex64]:
    """Return direction (doubled angle) and strength (0..1) of the edges, complex64 (S, S)."""
    grey = _smooth(picture.mean(axis=0, dtype=np.float32) * valid)
    if not valid.all():
        grey /= np.maximum(_smooth(valid.astype(np.float32)), np.float32(1e-3))
    gradient = np.zeros(grey.shape, np.complex64)
    gradient.real[:, 1:-1] = (grey[:, 2:] - grey[:, :-2]) / 2
    gradient.imag[1:-1] = (grey[2:] - grey[:-2]) / 2
    strength = np.square(gradient.real) + np.square(gradient.imag)
    return np.asarray(np.square(gradient) / (strength + np.float32(FAINT_EDGE**2)), np.complex64)


def _smooth(plane: Floats) -> Floats:
    """Blur by the binomial 1-4-6-4-1, a deviation of one pixel, each way."""
    padded = np.pad(plane, 2, mode="edge")
    rows = (padded[:-4] + padded[4:] + 4 * (padded[1:-3] + padded[3:-1]) + 6 * padded[2:-2]) / 16
    columns = (
        rows[:, :-4] + rows[:, 4:] + 4 * (rows[:, 1:-3] + rows[:, 3:-1]) + 6 * rows[:, 2:-2]
    ) / 16
    return np.asarray(columns, np.float32)


def _inside(valid: Mask) -> Mask:
    """Leave out what is near invalid ground: its edge lies at the same place in both pictures."""
    if valid.all():
        return valid
    inside = np.pad(valid, 3, mode="edge")
    for axis in (0, 1):
        near = [np.roll(inside, step, axis) for step in range(-3, 4)]
        inside = np.logical_and.reduce(near)
    return np.asarray(inside[3:-3, 3:-3])


def _peak(surface: Floats) -> tuple[float, float]:
    """Return the place of the highest value, columns and rows from the middle, between pixels."""
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    middle = surface.shape[0] // 2
    right = column - middle + _vertex(surface[row], int(column))
    down = row - middle + _vertex(surface[:, column], int(row))
    return float(right), float(down)


def _vertex(line: Floats, place: int) -> float:
    """Return where the parabola through a peak and its neighbours is highest, -0.5..0.5."""
    if not 0 < place < len(line) - 1:
        return 0.0
    before, at, after = (float(value) for value in line[place - 1 : place + 2])
    bend = before - 2 * at + after
    return 0.0 if bend == 0 else 0.5 * (before - after) / bend
