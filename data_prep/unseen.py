"""Ground that a picture does not show: the black beyond a scene's edge and of masked pixels."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_opening

SQUARE_PX = 5
"""Black counts from squares of this side: a dark pixel of a picture is none."""


def unseen_ground(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which pixels of a picture (H, W, 3) show nothing, bool (H, W).

    They are those of squares whose pixels are all zero in every band; beyond the picture's edge
    all is.
    """
    black: npt.NDArray[np.bool_] = np.asarray(~pixels.any(axis=2))
    if not black.any():
        return black
    wide = np.pad(black, SQUARE_PX, constant_values=True)
    opened = binary_opening(wide, np.ones((SQUARE_PX, SQUARE_PX), bool))
    return np.asarray(opened[SQUARE_PX:-SQUARE_PX, SQUARE_PX:-SQUARE_PX], bool)


def with_mean_colour(
    pixels: npt.NDArray[np.uint8], unseen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3) whose unseen ground (H, W) has the mean colour of the rest.

    Filters then carry no black into what is seen. A picture that shows nothing stays as it is.
    """
    if unseen.all() or not unseen.any():
        return pixels
    mean = pixels[~unseen].mean(axis=0)
    return np.where(unseen[..., None], mean, pixels).astype(np.uint8)


def with_unseen(
    pixels: npt.NDArray[np.uint8], unseen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3) that is black where ground is unseen (H, W), and only there."""
    if not unseen.any():
        return pixels
    return np.where(unseen[..., None], 0, np.maximum(pixels, 1)).astype(np.uint8)
