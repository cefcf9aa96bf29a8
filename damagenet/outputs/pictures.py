"""Pictures inside the report: the scene and its chips as JPEG data URIs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from damagenet.card import ChipGround
from damagenet.outputs.highlights import Highlight
from data_prep.pairing import Pictures
from data_prep.scene import Scene
from data_prep.windows import chip_size

PICTURE_SIDE_PX = 1800
"""Longer side of the scene's picture, at most."""
_QUALITY = 80
_NOTHING = 224
"""Grey of ground that the scene does not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that lives inside a page."""

    uri: str
    width: int
    height: int


def picture_size(scene: Scene) -> tuple[int, int]:
    """Return width and height in pixels of the scene's picture."""
    height, width = scene.picture_size(PICTURE_SIDE_PX)
    # Degrees are no squares on the ground; the longer side shrinks, so that no pixel is made up.
    aspect = (scene.height * scene.pixel_m[1]) / (scene.width * scene.pixel_m[0])
    size = (
        (width, round(width * aspect))
        if width * aspect <= height
        else (round(height / aspect), height)
    )
    return max(size[0], 1), max(size[1], 1)


def scene_picture(scene: Scene) -> Picture:
    """Return the whole scene, decimated, as wide to high as the ground; grey without pixels."""
    return _picture(*scene.picture(PICTURE_SIDE_PX), size=picture_size(scene))


def chip_pictures(
    pictures: Pictures, highlights: Sequence[Highlight], ground: ChipGround
) -> list[Picture]:
    """Return the chip around the centre of each unit, as the model saw it, the one before first."""
    if not highlights:
        return []
    size = chip_size(pictures.scene.pixel_m, ground)
    windows = [size.around(one.col, one.row) for one in highlights]
    chips = pictures.read_chips(windows, size_px=ground.size_px)
    # As time goes: left is before the storm, right is after it.
    beside = np.concatenate(chips.images[::-1], axis=3)
    valid = np.concatenate([chips.valid] * len(chips.images), axis=2)
    return [_picture(*chip) for chip in zip(beside, valid, strict=True)]


def _picture(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], size: tuple[int, int] | None = None
) -> Picture:
    shown = pixels if valid.all() else np.where(valid, pixels, np.uint8(_NOTHING))
    image = Image.merge("RGB", [Image.fromarray(band) for band in shown])
    if size is not None and size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri=f"data:image/jpeg;base64,{text}", width=image.width, height=image.height)
