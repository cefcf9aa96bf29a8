"""A made scene: ground, roads, trees and houses, part of them under brown water.

For demonstrations and tests where no real scene is at hand. It looks like a satellite picture from
afar and proves nothing about a model.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from PIL import Image, ImageDraw, ImageFilter
from pyproj import Transformer
from rasterio.enums import Resampling

from damagenet.errors import OutputError

CRS = "EPSG:32615"
WEST_M, NORTH_M = 244_000.0, 3_303_600.0
"""North-west corner: west of Houston."""
STREET_SPACING_PX = 148
LOT_PX = 56
_GRASS = np.array((84, 96, 66), np.float32)
_SOIL = np.array((118, 108, 88), np.float32)
_WATER = np.array((118, 101, 76), np.float32)
_ROOFS = ((126, 118, 110), (104, 94, 90), (148, 138, 126), (132, 104, 88), (92, 88, 92))


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeScene:
    """The files of one made scene."""

    scene: Path
    """GeoTIFF, uint8 RGB, EPSG:32615, with overviews."""
    buildings: Path
    """GeoJSON polygons in lon/lat with `uid` and the truth, `flooded` (true or false)."""
    count: int
    flooded: int


@dataclass(frozen=True, slots=True)
class _House:
    left: int
    top: int
    right: int
    bottom: int


def make_scene(
    path: Path, *, seed: int = 0, size_px: int = 1024, pixel_m: float = 0.5
) -> MadeScene:
    """Write a made scene as GeoTIFF, and beside it its buildings as `<stem>_buildings.geojson`.

    The same seed makes the same pixels.

    Args:
        path: GeoTIFF to write; its folder is made.
        seed: Of everything random.
        size_px: Side of the scene in pixels.
        pixel_m: Ground sampling in metres.

    Raises:
        OutputError: If the files cannot be written.
    """
    random = np.random.default_rng(seed)
    water = _water(random, size_px)
    houses = _lots(random, size_px)
    picture = _light(_paint(random, houses, water, size_px), random)
    flooded = [_is_flooded(house, water) for house in houses]
    buildings = path.with_name(f"{path.stem}_buildings.geojson")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_picture(path, picture, pixel_m)
        buildings.write_text(_geojson(houses, flooded, pixel_m), encoding="utf-8")
    except (OSError, rasterio.errors.RasterioError) as err:
        raise OutputError(f"cannot write the made scene {path}: {err}") from err
    return MadeScene(scene=path, buildings=buildings, count=len(houses), flooded=sum(flooded))


def _noise(random: np.random.Generator, size: int, grain_px: int) -> np.ndarray:
    """Return smooth noise in -1..1, float32 (size, size), with features of about `grain_px`."""
    cells = max(2, size // grain_px + 2)
    coarse = Image.fromarray(random.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _water(random: np.random.Generator, size: int) -> np.ndarray:
    """Return where the water stands, 0..1, float32 (size, size): one side of the scene, ragged."""
    rows, cols = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle = random.uniform(0, 2 * np.pi)
    slope = (cols - 0.5) * np.cos(angle) + (rows - 0.5) * np.sin(angle)
    level = slope + 0.16 * _noise(random, size, size // 3) + 0.04 * _noise(random, size, size // 12)
    return np.asarray(np.clip((level - 0.02) * 40, 0, 1))


def _lots(random: np.random.Generator, size: int) -> list[_House]:
    """Return houses in two rows between the streets, some lots left empty."""
    houses = []
    for street in range(0, size - STREET_SPACING_PX // 2, STREET_SPACING_PX):
        for row in (street + 22, street + 86):
            for lot in range(14, size - LOT_PX, LOT_PX):
                width, height = random.integers(24, 40), random.integers(22, 36)
                left, top = lot + random.integers(0, 12), row + random.integers(0, 10)
                crossing = (lot % (STREET_SPACING_PX * 3)) < LOT_PX
                if random.random() < 0.15 or crossing or top + height >= size:
                    continue
                houses.append(_House(int(left), int(top), int(left + width), int(top + height)))
    return houses


def _paint(
    random: np.random.Generator, houses: list[_House], water: np.ndarray, size: int
) -> np.ndarray:
    """Return the scene in colours, float32 (size, size, 3), values about 0..255."""
    mix = (0.5 + 0.5 * _noise(random, size, 90))[..., None]
    ground = _GRASS * (1 - 0.5 * mix) + _SOIL * 0.5 * mix
    ground += 9 * _noise(random, size, 7)[..., None] + 5 * _noise(random, size, 2)[..., None]
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    _draw_streets(ImageDraw.Draw(picture), size)
    _draw_trees(random, ImageDraw.Draw(picture), size)
    dry = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    ripple = 4 * _noise(random, size, 24)[..., None] + 2 * _noise(random, size, 3)[..., None]
    # Shallow water lets a little of the ground through.
    wet = 0.12 * dry + 0.88 * _WATER + ripple
    flooded = dry * (1 - water[..., None]) + wet * water[..., None]
    roofed = Image.fromarray(np.clip(flooded, 0, 255).astype(np.uint8))
    _draw_trees(random, ImageDraw.Draw(roofed), size, count=size // 6)
    _draw_houses(random, ImageDraw.Draw(roofed), houses)
    return np.asarray(roofed, np.float32)


def _draw_streets(draw: ImageDraw.ImageDraw, size: int) -> None:
    for place in range(0, size, STREET_SPACING_PX):
        draw.rectangle((0, place, size, place + 13), fill=(132, 130, 126))
        draw.line((0, place + 6, size, place + 6), fill=(150, 148, 140))
    for place in range(20, size, STREET_SPACING_PX * 3):
        draw.rectangle((place, 0, place + 13, size), fill=(128, 126, 122))


def _draw_trees(
    random: np.random.Generator, draw: ImageDraw.ImageDraw, size: int, count: int | None = None
) -> None:
    for _ in range(size // 2 if count is None else count):
        col, row = random.uniform(0, size, 2)
        radius, shade = random.uniform(4, 11), random.integers(-10, 14)
        draw.ellipse(
            (col - radius + 3, row - radius + 3, col + radius + 3, row + radius + 3), (42, 48, 36)
        )
        green = (52 + int(shade), 70 + int(shade), 44 + int(shade))
        draw.ellipse((col - radius, row - radius, col + radius, row + radius), green)
        draw.ellipse((col - radius / 2, row - radius / 2, col, row), tuple(c + 14 for c in green))


def _draw_houses(
    random: np.random.Generator, draw: ImageDraw.ImageDraw, houses: list[_House]
) -> None:
    """Draw roofs with a ridge, one side lit and one in shade, and the shadow on the ground."""
    for house in houses:
        jitter = int(random.integers(-14, 14))
        red, green, blue = (int(c) + jitter for c in random.choice(_ROOFS))
        left, top, right, bottom = house.left, house.top, house.right, house.bottom
        middle = (top + bottom) // 2
        draw.rectangle((left + 4, top + 4, right + 5, bottom + 5), fill=(44, 44, 40))
        draw.rectangle((left, top, right, middle), fill=(red + 22, green + 22, blue + 20))
        draw.rectangle((left, middle, right, bottom), fill=(red - 18, green - 18, blue - 16))
        draw.line((left, middle, right, middle), fill=(red + 44, green + 44, blue + 40))


def _light(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return uint8 (size, size, 3) with the blur and the noise of a sensor."""
    blurred = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(0.7)
    )
    noisy = np.asarray(blurred, np.float32) + random.normal(0, 2.5, picture.shape)
    return np.clip(noisy, 1, 255).astype(np.uint8)


def _is_flooded(house: _House, water: np.ndarray) -> bool:
    """Tell whether water stands around a house, on most of a border of 8 pixels."""
    top, left = max(0, house.top - 8), max(0, house.left - 8)
    return bool(water[top : house.bottom + 8, left : house.right + 8].mean() > 0.5)


def _write_picture(path: Path, picture: np.ndarray, pixel_m: float) -> None:
    size = picture.shape[0]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size,
        height=size,
        count=3,
        dtype="uint8",
        crs=CRS,
        transform=Affine(pixel_m, 0, WEST_M, 0, -pixel_m, NORTH_M),
        tiled=True,
        compress="deflate",
        predictor=2,
        photometric="rgb",
    ) as dataset:
        dataset.write(picture.transpose(2, 0, 1))
        dataset.update_tags(TIFFTAG_DATETIME="2017:08:31 17:38:50", SOURCE="made by damagenet")
        dataset.build_overviews([2, 4], Resampling.average)


def _geojson(houses: list[_House], flooded: list[bool], pixel_m: float) -> str:
    lonlat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    features = []
    for number, (house, wet) in enumerate(zip(houses, flooded, strict=True)):
        cols = np.array((house.left, house.left, house.right, house.right, house.left))
        rows = np.array((house.top, house.bottom, house.bottom, house.top, house.top))
        lons, lats = lonlat.transform(WEST_M + cols * pixel_m, NORTH_M - rows * pixel_m)
        ring = [
            [round(float(lon), 8), round(float(lat), 8)]
            for lon, lat in zip(lons, lats, strict=True)
        ]
        features.append(
            {
                "type": "Feature",
                "properties": {"uid": f"house-{number:04d}", "flooded": wet},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": features})
