"""Map tiles and chips: a square of Web Mercator cut from a job's COGs, as a picture.

GDAL is only ever given files that the service itself has named, and asked for exactly the pixels
of the square. Readers of whole tiles as rio-tiler's first let GDAL suggest a grid, for which it
needs its VRT driver, which `hardening` takes away; they are no faster.
"""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from api.folders import JobFolder
from api.map_index import Layer, MapScene
from api.problems import not_found
from damagenet.outputs.style import RAMP
from data_prep.opening import GDAL_SETTINGS

MERCATOR = "EPSG:3857"
EARTH_M = 2 * math.pi * 6_378_137
"""Width of the Web Mercator map, in its metres."""
MAX_ZOOM = 24
GDAL = GDAL_SETTINGS | {"GDAL_CACHEMAX": 64 * 2**20}
"""A map needs few decoded blocks again."""
OVERVIEW_SLACK = 1.2
"""An overview may be this much coarser than the picture that is asked for."""

Pixels = NDArray[np.uint8]
Ending = Literal["png", "webp", "jpg"]
MEDIA_TYPES: dict[str, str] = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A square of Web Mercator.

    Attributes:
        west: Left side in the map's metres.
        north: Upper side.
        side: Length of a side.
        size_px: Pixels along a side.
    """

    west: float
    north: float
    side: float
    size_px: int

    @classmethod
    def of_tile(cls, zoom: int, column: int, row: int, *, size_px: int) -> "View":
        """Return the square of an XYZ tile."""
        side = EARTH_M / 2**zoom
        west, north = column * side - EARTH_M / 2, EARTH_M / 2 - row * side
        return cls(west=west, north=north, side=side, size_px=size_px)

    @classmethod
    def around(cls, lon: float, lat: float, *, ground_m: float, size_px: int) -> "View":
        """Return the square of so many metres on the ground around a place in degrees."""
        side = ground_m / math.cos(math.radians(lat))
        middle = EARTH_M / (2 * math.pi) * math.asinh(math.tan(math.radians(lat)))
        west, north = lon / 360 * EARTH_M - side / 2, middle + side / 2
        return cls(west=west, north=north, side=side, size_px=size_px)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in the map's metres."""
        return self.west, self.north - self.side, self.west + self.side, self.north

    def shows(self, bounds: tuple[float, float, float, float]) -> bool:
        """Return whether it shares ground with a box in degrees, whose west may be larger."""
        west, south, east, north = bounds
        left, low, right, high = self.bounds
        own_west, own_east = left / EARTH_M * 360, right / EARTH_M * 360
        if west > east:
            across = own_east > west or own_west < east
        else:
            across = own_east > west and own_west < east
        return across and _latitude(high) > south and _latitude(low) < north


def is_tile(zoom: int, column: int, row: int) -> bool:
    """Return whether there is such a tile in the grid of XYZ tiles."""
    return 0 <= zoom <= MAX_ZOOM and 0 <= column < 2**zoom and 0 <= row < 2**zoom


def draw(folder: JobFolder, scenes: Iterable[MapScene], layer: Layer, view: View) -> Pixels | None:
    """Return a view of a layer as RGBA (h, w, 4); None where no scene holds anything.

    Where several scenes hold data, the first one is seen.

    Raises:
        ServiceError: 404 if the job was deleted meanwhile.
    """
    canvas: Pixels | None = None
    for scene in scenes:
        if not (scene.holds(layer) and view.shows(scene.bounds)):
            continue
        path = scene.file(folder, layer)
        if not path.is_file():
            raise not_found("picture of this assessment any more")
        pixels = _read(path, scene, layer, view)
        canvas = pixels if canvas is None else np.where(canvas[..., 3:] > 0, canvas, pixels)
        if canvas[..., 3].all():
            break
    return canvas if canvas is not None and canvas[..., 3].any() else None


def encode(pixels: Pixels, ending: Ending) -> bytes:
    """Return RGBA as a file; JPEG shows white where there is no picture."""
    picture = Image.fromarray(pixels)
    stream = io.BytesIO()
    if ending == "png":
        opaque = bool((pixels[..., 3] == 255).all())
        # Higher levels take three times as long for a tenth of the bytes.
        (picture.convert("RGB") if opaque else picture).save(stream, "PNG", compress_level=3)
    elif ending == "webp":
        picture.save(stream, "WEBP", quality=85, method=2)
    else:
        white = Image.new("RGBA", picture.size, "white")
        Image.alpha_composite(white, picture).convert("RGB").save(stream, "JPEG", quality=88)
    return stream.getvalue()


@lru_cache(maxsize=16)
def nothing(size_px: int, ending: Ending) -> bytes:
    """Return a tile without anything on it."""
    return encode(np.zeros((size_px, size_px, 4), np.uint8), ending)


def deepest_zoom(degrees_per_px: float) -> int:
    """Return the zoom whose tiles of 256 px show every pixel of this width in degrees."""
    # A fifth of a zoom less is not seen, and halves the tiles.
    zoom = math.ceil(math.log2(360 / 256 / degrees_per_px) - 0.2)
    return min(max(zoom, 0), MAX_ZOOM)


def _latitude(north: float) -> float:
    return math.degrees(math.atan(math.sinh(north / EARTH_M * 2 * math.pi)))


def _read(path: Path, scene: MapScene, layer: Layer, view: View) -> Pixels:
    size, step = view.size_px, view.side / view.size_px
    with rasterio.Env(**GDAL), _opened(path, scene, view) as file:
        is_damage = layer == "damage"
        with WarpedVRT(
            file,
            crs=MERCATOR,
            transform=Affine(step, 0, view.west, 0, -step, view.north),
            width=size,
            height=size,
            resampling=Resampling.nearest if is_damage else Resampling.cubic,
            add_alpha=not is_damage,
        ) as warped:
            if is_damage:
                return _coloured(warped.read(1))
            pixels: Pixels = np.ascontiguousarray(warped.read().transpose(1, 2, 0))
            return pixels


def _opened(path: Path, scene: MapScene, view: View) -> DatasetReader:
    """Open a COG at the overview that is just fine enough; GDAL's warping would take none."""
    file = rasterio.open(path, driver="GTiff")
    pixel = scene.degrees_wide / 360 * EARTH_M / file.width
    coarsest = view.side / view.size_px / pixel * OVERVIEW_SLACK
    levels = [level for level, factor in enumerate(file.overviews(1)) if factor <= coarsest]
    if not levels:
        return file
    file.close()
    return rasterio.open(path, driver="GTiff", overview_level=levels[-1])


def _coloured(probability: NDArray[np.float32]) -> Pixels:
    """Return P(damaged) in the colours of `damage.qml`, transparent where there is none."""
    known = np.isfinite(probability)
    steps = np.rint(np.where(known, probability, 0) * 255).clip(0, 255).astype(np.uint8)
    return np.where(known[..., None], _palette()[steps], 0).astype(np.uint8)


@lru_cache(maxsize=1)
def _palette() -> Pixels:
    stops = [value for value, _ in RAMP]
    colours = np.array([[int(hex_[n : n + 2], 16) for n in (1, 3, 5)] for _, hex_ in RAMP])
    steps = np.linspace(0, 1, 256)
    bands = [np.interp(steps, stops, band) for band in colours.T]
    palette: Pixels = np.rint(np.stack([*bands, np.full(256, 255)], axis=1)).astype(np.uint8)
    return palette
