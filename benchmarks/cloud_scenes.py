"""Real scenes under made skies: the windows of their buildings, and what is truly seen there."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from damagenet.card import ChipGround
from damagenet.engine.judging import owners
from data_prep.footprints import building_units, read_buildings
from data_prep.made_clouds import MadeSky, expose, make_clouds, make_haze
from data_prep.scene import Scene
from data_prep.tile import decode_tile
from data_prep.tile_source import read_source
from data_prep.windows import Unit

CHOSEN_ON = ("00000003", "00000011", "houston_00", "houston_02", "houston_03")
"""Places on which the check was designed and fitted."""
REPORTED_ON = ("00000078", "00000127", "houston_01", "houston_04")
"""Places that it had not seen."""
LARGE = "houston_large"
"""Holds the other Houston scenes and more: only as it was."""
HIDDEN_BELOW = 0.25
"""A pixel is hidden where less than this share of the ground's signal comes through."""
AS_IT_WAS = "as it was"

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Random = np.random.Generator
Sky = Callable[[Pixels, Random], tuple[Pixels, Floats]]
"""From the ground, uint8 (3, h, w), to what is seen of it, and to the transmission (h, w)."""


def _veil(make: Callable[[Random, tuple[int, int]], MadeSky]) -> Sky:
    def through(ground: Pixels, random: Random) -> tuple[Pixels, Floats]:
        sky = make(random, ground.shape[1:])
        return sky.over(ground, random), np.asarray(sky.transmission, np.float32)

    return through


def _clouds(cover: float, depth: float) -> Sky:
    return _veil(lambda random, shape: make_clouds(random, shape, cover=cover, depth=depth))


def _haze(transmission: float) -> Sky:
    return _veil(lambda random, shape: make_haze(random, shape, transmission=transmission))


def _exposure(gain: float) -> Sky:
    def through(ground: Pixels, _: Random) -> tuple[Pixels, Floats]:
        seen = expose(ground, gain)
        # Where two of three bands are clipped, brightness and shape are lost.
        return seen, ((seen == 255).sum(axis=0) < 2).astype(np.float32)

    return through


VEILS: dict[str, Sky] = {
    "thin veils": _clouds(0.6, 0.6),
    "scattered clouds": _clouds(0.45, 1.5),
    "broken clouds": _clouds(0.6, 4),
    "overcast": _clouds(0.85, 6),
    "haze, 65 % through": _haze(0.65),
    "haze, 40 % through": _haze(0.40),
    "haze, 20 % through": _haze(0.20),
    "haze, 10 % through": _haze(0.10),
}
EXPOSURES: dict[str, Sky] = {f"exposed {gain} times": _exposure(gain) for gain in (1.5, 2.5, 4.0)}
SKIES = VEILS | EXPOSURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A real scene with its buildings."""

    path: Path
    buildings: Path

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.path.stem.removeprefix("hurricane-harvey_").removesuffix("_disaster")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The windows of a picture's buildings under one sky.

    Attributes:
        picture: Name of the picture.
        sky: Name of the sky.
        units: The buildings, U of them.
        owner: The place among them of every window's building, (N,).
        image: The windows' chips, uint8 (N, 3, S, S).
        valid: Where they show a picture, bool (N, S, S).
        through: Transmission, 0..1, float32 (N, S, S).
    """

    picture: str
    sky: str
    units: Sequence[Unit]
    owner: NDArray[np.int64]
    image: Pixels
    valid: NDArray[np.bool_]
    through: Floats

    def by_unit(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the mean of values (N, ...) over each building's windows, (U,)."""
        means = values.reshape(len(values), -1).mean(axis=1)
        count = np.maximum(np.bincount(self.owner, minlength=len(self.units)), 1)
        return np.asarray(np.bincount(self.owner, means, len(self.units)) / count)

    def really_seen(self) -> NDArray[np.bool_]:
        """Return which pixels are valid and not hidden, bool (N, S, S)."""
        return np.asarray(self.valid & (self.through >= HIDDEN_BELOW))

    def thickness(self) -> NDArray[np.float64]:
        """Return the median transmission over the windows of each building, (U,)."""
        shown = np.where(self.valid, self.through, np.nan).reshape(len(self.valid), -1)
        shown[~self.valid.any(axis=(1, 2))] = 1
        return self.by_unit(np.nanmedian(shown, axis=1))


def published_tiles(data: Path) -> dict[str, Pixels]:
    """Return the distinct published tiles by class folder, uint8 (N, 3, 128, 128).

    Ordinary ground of five regions before and after the storm: houses, roads, yards, flood water
    and large roofs.
    """
    files = {
        file.read(): file.place[1]
        for file in read_source(data / "harvey_tiles.tar").files
        if file.place
    }
    found: dict[str, list[Pixels]] = {}
    for content, folder in files.items():
        found.setdefault(folder, []).append(decode_tile(content).transpose(2, 0, 1))
    return {folder: np.stack(tiles) for folder, tiles in found.items()}


def pictures(data: Path, places: Sequence[str], *, after: bool = True) -> list[Picture]:
    """Return the pictures of places after the storm, or before it where there are any."""
    found = []
    for place in places:
        folder = data / ("scenes" if place.startswith("houston") else "xbd")
        for path in sorted(folder.glob(f"*{place}_{'post' if after else 'pre'}*.tif")):
            own, shared = path.with_suffix(".geojson"), folder / f"{place}_buildings.geojson"
            found.append(Picture(path=path, buildings=own if own.is_file() else shared))
    return found


def as_it_was(picture: Picture) -> View:
    """Return the windows of a picture's buildings without any made sky."""
    return _view(picture, picture.path, AS_IT_WAS, None)


def under_skies(picture: Picture, skies: dict[str, Sky], seed: int = 0) -> Iterator[View]:
    """Yield the windows of a picture's buildings under one sky after the other.

    Equal seeds make equal skies. What is seen, and the transmission as a picture, are written as
    GeoTIFF and read like any scene, so that both are resampled alike.
    """
    with rasterio.open(picture.path) as file:
        ground, valid = file.read((1, 2, 3)), file.dataset_mask()
        profile = {**file.profile, "compress": None, "photometric": "rgb"}
    with tempfile.TemporaryDirectory() as folder:
        seen, through = Path(folder) / "seen.tif", Path(folder) / "through.tif"
        for number, (name, sky) in enumerate(skies.items()):
            random = np.random.default_rng([seed, number, *picture.name.encode()])
            pixels, transmission = sky(ground, random)
            _write(seen, profile, pixels, valid)
            _write(through, profile, np.stack([np.uint8(255 * transmission + 0.5)] * 3), valid)
            yield _view(picture, seen, name, through)


def _write(path: Path, profile: dict[str, object], pixels: Pixels, valid: Pixels) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        file.write_mask(valid)


def _view(picture: Picture, seen: Path, sky: str, through: Path | None) -> View:
    ground = ChipGround()
    with Scene.open(seen) as scene:
        units = building_units(read_buildings(picture.buildings).touching(scene), scene, ground)
        windows = [window for unit in units for window in unit.windows]
        chips = scene.read_chips(windows, size_px=ground.size_px)
    share = np.ones(chips.valid.shape, np.float32)
    if through is not None:
        with Scene.open(through) as scene:
            levels = scene.read_chips(windows, size_px=ground.size_px).images[0][:, 0]
        share = levels / np.float32(255)
    return View(
        picture=picture.name,
        sky=sky,
        units=units,
        owner=owners(units),
        image=chips.images[0],
        valid=chips.valid,
        through=share,
    )
