"""One published tile: what its name says, where it lies, and whether its bytes are a tile.

The geometry is that of the tiles themselves (they were cut from one EPSG:4326 pyramid): a tile's
name is the coordinate of its centre, and its pixels lie on a world grid from (-180, 90).
"""

import io
import re
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from damagenet.errors import DataError

TILE_PX = 128
"""Side of a tile in pixels."""
PIXEL_DEGREES = 0.087890625 / 19584
"""Side of a pixel in degrees, both ways: about 0.50 m north-south, 0.43 m east-west in Texas."""
HALF_TILE_DEGREES = 0.000287224
"""From a tile's centre to its edge in degrees."""
AREA = (-97.5, 28.0, -93.0, 31.5)
"""West, south, east, north of the ground that Harvey's tiles may lie on, in degrees."""
CLASS_FOLDERS = ("no_damage", "damage")
"""Folder names by label: index 1 is the positive class, as in `damagenet.labels.CLASSES`."""
PUBLISHED_SPLITS = ("train_another", "validation_another", "test_another", "test")
"""Folders of the published data set, in the order in which a byte copy looks for its original."""
REGIONS = ("victoria", "houston-south", "houston-west", "houston-east", "beaumont")

Region = Literal["victoria", "houston-south", "houston-west", "houston-east", "beaumont"]

_NAME = re.compile(r"(-?\d+(?:\.\d+)?)[_,](-?\d+(?:\.\d+)?)\.jpe?g", re.IGNORECASE)


def parse_coordinate(name: str) -> tuple[float, float]:
    """Return the longitude and latitude that a file name such as `-95.1_29.8.jpeg` states.

    Raises:
        DataError: If the name does not parse, or the coordinate is not on Harvey's ground.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError("the name is not <longitude>_<latitude>.jpeg")
    lon, lat = float(match[1]), float(match[2])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise DataError(f"coordinate {lon}, {lat} is out of range")
    west, south, east, north = AREA
    if not (west <= lon <= east and south <= lat <= north):
        raise DataError(f"coordinate {lon}, {lat} is in no region of the Harvey data")
    return lon, lat


def region_of(lon: float, lat: float) -> Region:
    """Return the region of a coordinate in degrees."""
    if lon < -96:
        return "victoria"
    if lon <= -95.25:
        return "houston-south" if lat < 29.7 else "houston-west"
    return "houston-east" if lon <= -94.7 else "beaumont"


def world_pixel(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], ...]:
    """Return world-grid column and row of the upper left pixel of tiles centred on lon, lat."""
    west = np.asarray(lon, float) - HALF_TILE_DEGREES + 180
    south_of_pole = 90 - np.asarray(lat, float) - HALF_TILE_DEGREES
    return tuple(
        np.floor(offset / PIXEL_DEGREES + 0.001).astype(np.int64)
        for offset in (west, south_of_pole)
    )


def decode_tile(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels of a tile, uint8 (128, 128, 3).

    Raises:
        DataError: If the bytes are no whole RGB JPEG of 128 x 128 pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.size != (TILE_PX, TILE_PX):
                raise DataError(f"{image.width}x{image.height} pixels instead of 128x128")
            if image.mode != "RGB":
                raise DataError(f"colour mode {image.mode} instead of RGB")
            return np.array(image)
    except UnidentifiedImageError as err:
        raise DataError("not a JPEG image") from err
    except (OSError, SyntaxError, Image.DecompressionBombError) as err:
        raise DataError(f"a broken JPEG: {err}") from err
