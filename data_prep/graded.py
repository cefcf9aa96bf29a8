"""Graded scenes, laid out as xBD is: a picture after a storm, one before it, and its buildings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from damagenet.card import ChipGround
from damagenet.errors import DataError
from damagenet.recipe import Bounds, Picture
from data_prep.alignment import estimate_shift
from data_prep.footprints import building_units, read_buildings
from data_prep.overlap import find_overlap
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene, SceneOptions

AFTER, BEFORE = "_post_disaster", "_pre_disaster"
GRADE_FIELD = "subtype"
DAMAGED = ("minor-damage", "major-damage", "destroyed")
UNDAMAGED = ("no-damage",)
UNGRADED = ("un-classified",)
"""What xBD's grades (Gupta et al. 2019, arXiv:1911.09296) mean here."""
LICENCE = "CC BY-NC-SA 4.0 (the xBD scenes: no commercial use, share alike)"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedScene:
    """One xBD scene with its buildings.

    Attributes:
        name: Its file's stem.
        path: The picture.
        buildings: Footprints with grades (`subtype`), GeoJSON.
        after: True for the picture taken after the storm; before it nothing is damaged.
    """

    name: str
    path: Path
    buildings: Path
    after: bool

    @property
    def before(self) -> Path:
        """The picture of the same ground before the storm."""
        return self.path.with_name(self.path.name.replace(AFTER, BEFORE))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GradedChips:
    """The chips of the graded buildings of one scene.

    Attributes:
        scene: The scene, seen after the storm.
        pictures: One array uint8 (N, S, S, 3) for each picture asked for.
        damaged: Whether the building of each chip is damaged (N,).
        building: Number of that building, 0..B-1 (N,); a large one has several chips.
        lon, lat: Of the chip's centre in degrees (N,).
    """

    scene: GradedScene
    pictures: tuple[npt.NDArray[np.uint8], ...]
    damaged: npt.NDArray[np.bool_]
    building: npt.NDArray[np.int64]
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]


def find_scenes(folder: Path) -> list[GradedScene]:
    """Return the scenes of a folder, those after the storm first, in alphabetical order.

    Raises:
        DataError: If there is none, or a scene has no buildings.
    """
    scenes = [
        GradedScene(
            name=path.stem,
            path=path,
            buildings=path.with_suffix(".geojson"),
            after=ending == AFTER,
        )
        for ending in (AFTER, BEFORE)
        for path in sorted(folder.glob(f"*{ending}.tif"))
    ]
    if not any(scene.after for scene in scenes):
        raise DataError(f"{folder} holds no *{AFTER}.tif: name the folder of xBD scenes with --xbd")
    bare = [scene.name for scene in scenes if not scene.buildings.is_file()]
    if bare:
        raise DataError(f"{folder}: {bare[0]}.tif has no {bare[0]}.geojson with its buildings")
    return scenes


def after_name(scene: GradedScene) -> str:
    """Return the name of the picture after the storm that shows the same ground."""
    return scene.name.replace(BEFORE, AFTER)


def scene_ground(scene: GradedScene) -> Bounds:
    """Return west, south, east, north in degrees of the ground that a scene shows."""
    with Scene.open(scene.path) as opened:
        return ground_of(opened, [Window(0, 0, opened.width, opened.height)])


def ground_of(scene: Scene, windows: Sequence[Window]) -> Bounds:
    """Return west, south, east, north in degrees of the parts of windows that lie in a scene."""
    boxes = np.array([_box(scene, window) for window in windows])
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    return float(west), float(south), float(east), float(north)


def read_graded_chips(
    scene: GradedScene, ground: ChipGround, inputs: Sequence[Picture]
) -> GradedChips:
    """Read the chips of the graded buildings of a scene, as an assessment would cut them.

    Raises:
        DataError: If no building has a grade, or the picture before the storm is asked for and
            is missing.
        DamageNetError: As opening and reading scenes and buildings do.
    """
    buildings = read_buildings(scene.buildings)
    if GRADE_FIELD not in buildings.frame:
        raise DataError(f"{scene.buildings} has no column {GRADE_FIELD} with grades")
    grade = buildings.frame[GRADE_FIELD].astype(str)
    with opened_pair(scene, ground, inputs) as pictures:
        opened = pictures.scene
        units = building_units(buildings.touching(opened), opened, ground)
        known = [unit for unit in units if grade[unit.row] in (*DAMAGED, *UNDAMAGED)]
        windows = [window for unit in known for window in unit.windows]
        if not windows:
            raise DataError(f"{scene.buildings}: no building on {scene.path.name} has a grade")
        chips = pictures.read_chips(windows, size_px=ground.size_px)
        lon, lat = opened.lonlat(
            np.array([window.col_off + window.width / 2 for window in windows]),
            np.array([window.row_off + window.height / 2 for window in windows]),
        )
    counts = [len(unit.windows) for unit in known]
    return GradedChips(
        scene=scene,
        pictures=tuple(np.ascontiguousarray(each.transpose(0, 2, 3, 1)) for each in chips.images),
        damaged=np.repeat([grade[unit.row] in DAMAGED for unit in known], counts),
        building=np.repeat(np.arange(len(known)), counts),
        lon=lon,
        lat=lat,
    )


@contextmanager
def opened_pair(
    scene: GradedScene, ground: ChipGround, inputs: Sequence[Picture]
) -> Iterator[Pictures]:
    """Yield the picture after the storm, with the one before it laid on it where it is asked for.

    Raises:
        DataError: If the picture before the storm is asked for and missing.
        SceneError: If a picture cannot be opened.
    """
    options = SceneOptions(chip=ground)
    with Scene.open(scene.path, options) as opened:
        if "pre" not in inputs:
            yield Pictures(scene=opened)
            return
        before = scene.before
        if not before.is_file():
            raise DataError(f"{scene.path} has no picture before the storm: {before} is missing")
        overlap = find_overlap(before, opened)
        with open_pre(before, opened, options) as pre:
            shift = estimate_shift(opened, pre, overlap)
        with open_pre(before, opened, options, shift=shift) as pre:
            yield Pictures(scene=opened, pre=pre, shift=shift)


def _box(scene: Scene, window: Window) -> Bounds:
    """Return the ground of the part of a window that lies in the scene."""
    columns = np.clip([window.col_off, window.col_off + window.width], 0, scene.width)
    rows = np.clip([window.row_off, window.row_off + window.height], 0, scene.height)
    lons, lats = scene.lonlat(np.repeat(columns, 2), np.tile(rows, 2))
    return float(lons.min()), float(lats.min()), float(lons.max()), float(lats.max())
