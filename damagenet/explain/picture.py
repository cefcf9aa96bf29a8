"""Pictures of one chip: the ground, and the ground under its map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from damagenet.explain.explainer import Maps
from damagenet.explain.names import Target
from damagenet.outputs.style import COLOURS

EDGE_COLOUR = "#ffc94d"
"""Of maps without sign; no colour of a verdict."""
SIDE_PX = 256
"""Side of a chip in its picture: pixels of 0.5 m are hard to see one by one."""
STRONGEST = 0.75
"""Opacity of full colour: the ground stays visible."""
DIMMED = 0.45
"""What is left of the ground's light under bright edges."""
FULL_PERCENTILE = 99.5
"""A few pixels may be brighter than full colour."""
WHITE_PX = 4
"""Space between the parts of a picture."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """How the numbers of a map look.

    Attributes:
        signed: Whether there are two sides to it.
        target: The class that large numbers speak for.
    """

    signed: bool
    target: Target

    @property
    def positive(self) -> str:
        """Colour of large numbers."""
        return COLOURS[self.target] if self.signed else EDGE_COLOUR

    @property
    def negative(self) -> str:
        """Colour of numbers far below zero."""
        return COLOURS["undamaged" if self.target == "damaged" else "damaged"]


def full_colour(maps: Sequence[Maps]) -> float:
    """Return the number that is drawn in full colour, above zero, for maps of one chip (S, S)."""
    strongest = float(np.percentile(np.abs(np.stack(maps)), FULL_PERCENTILE))
    return max(strongest, float(np.finfo(np.float32).tiny))


def chip_picture(
    images: Sequence[Pixels], maps: Sequence[Maps], colours: Colours, *, full: float
) -> Image.Image:
    """Return each picture of a chip beside itself under its map; before the storm comes first.

    Args:
        images: uint8 (3, S, S) for each picture, after the storm first.
        maps: Of each, (S, S).
        colours: How numbers look.
        full: The number that is drawn in full colour.
    """
    parts = []
    for pixels, values in reversed(list(zip(images, maps, strict=True))):
        ground = _enlarged(pixels.transpose(1, 2, 0))
        parts += [ground, under_map(ground, values, colours, full=full)]
    width = len(parts) * (SIDE_PX + WHITE_PX) - WHITE_PX
    canvas = Image.new("RGB", (width, SIDE_PX), "white")
    for number, part in enumerate(parts):
        canvas.paste(part, (number * (SIDE_PX + WHITE_PX), 0))
    return canvas


def under_map(ground: Image.Image, values: Maps, colours: Colours, *, full: float) -> Image.Image:
    """Return a picture with a map over it, of the picture's size.

    Args:
        ground: The picture.
        values: The map, (S, S).
        colours: How numbers look.
        full: The number that is drawn in full colour.
    """
    resized = Image.fromarray(values).resize(ground.size, Image.Resampling.BILINEAR)
    share = np.clip(np.asarray(resized) / full, -1, 1)
    below = np.asarray(ground, np.float32)
    if not colours.signed:
        below = below.mean(axis=2, keepdims=True) * DIMMED
    colour = np.where(share[..., None] < 0, _rgb(colours.negative), _rgb(colours.positive))
    opacity = (np.abs(share) * (STRONGEST if colours.signed else 1.0))[..., None]
    mixed = below * (1 - opacity) + colour * opacity
    return Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))


def png(picture: Image.Image, said: Mapping[str, str]) -> bytes:
    """Return a picture as PNG with texts, by key, that image viewers and `exiftool` show."""
    texts = PngInfo()
    for key, text in said.items():
        texts.add_itxt(key, text)
    buffer = BytesIO()
    picture.save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


def _enlarged(pixels: Pixels) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)


def _rgb(colour: str) -> NDArray[np.float32]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], np.float32)
