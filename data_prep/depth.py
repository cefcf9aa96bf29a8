"""Make 8-bit pixels of deeper ones: one scale for a whole scene and for all three bands."""

from dataclasses import dataclass

import numpy as np

DARK = (1.0, 38.0)
"""Percentile, and the 8-bit value it gets."""
BRIGHT = (99.0, 185.0)
"""Percentile, and the 8-bit value it gets.

Medians over 17 scenes of the Harvey tiles and of xBD, which are what the networks learn from: a
display picture leaves room at both ends, so stretching to 0..255 would look like no training tile.
"""
MIN_DISTINCT = 16
"""Fewer different values than this say nothing about how the pixels were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScale:
    """`round(value * gain + offset)` clipped to 0..255."""

    gain: float
    offset: float
    rule: str
    """Why this scale, in words for a report."""

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return uint8 pixels of the same shape; NaN becomes 0."""
        scaled = pixels.astype(np.float32)
        scaled *= np.float32(self.gain)
        scaled += np.float32(self.offset + 0.5)
        np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def fit_scale(values: np.ndarray, stored: np.ndarray, bits: int | None = None) -> DepthScale:
    """Choose the scale for a scene from a sample of its valid pixels.

    A picture that was 8-bit once (each value a multiple of one step, at most 255 steps, as in
    8-bit values times 257, times 8, or divided by 255) gets its old values back. Anything else is
    scaled so that two robust percentiles fall where they fall in the training pictures.

    Args:
        values: Valid samples of all three bands together, any shape, finite; perhaps averaged.
        stored: The same as the file holds them, for finding the step.
        bits: Significant bits, where the file says (TIFF NBITS).
    """
    if values.size == 0:
        return DepthScale(gain=0.0, offset=0.0, rule="no valid pixel")
    step = _old_step(stored, bits)
    if step:
        return DepthScale(gain=1 / step, offset=0.0, rule=f"8-bit values in steps of {step:.6g}")
    low, high = (float(value) for value in np.percentile(values, (DARK[0], BRIGHT[0])))
    if high <= low:
        return DepthScale(gain=0.0, offset=DARK[1], rule="all pixels alike")
    gain = (BRIGHT[1] - DARK[1]) / (high - low)
    rule = f"{low:.6g}..{high:.6g} ({DARK[0]:g} to {BRIGHT[0]:g} %) to {DARK[1]:g}..{BRIGHT[1]:g}"
    return DepthScale(gain=gain, offset=DARK[1] - low * gain, rule=rule)


def _old_step(values: np.ndarray, bits: int | None) -> float | None:
    """Return the step between the 256 levels the picture once had, or None."""
    distinct = np.unique(values)
    if not MIN_DISTINCT <= distinct.size <= 256 or distinct[0] < 0:
        return None
    if np.issubdtype(distinct.dtype, np.integer):
        divisor = float(np.gcd.reduce(distinct))
        told_deeper = bits is not None and bits > 8
        fits = distinct[-1] / divisor <= 255
        return divisor if fits and (divisor > 1 or not told_deeper) else None
    for step in (1 / 255, 1.0):
        levels = distinct / step
        if levels[-1] <= 255.5 and np.abs(levels - np.round(levels)).max() < 0.01:
            return step
    return None
