"""The post-event protocol: buildings of the xBD scenes, seen after the storm and before it.

Every building goes the way of `damagenet assess`: scene, windows, chips, pieces, `Predictor`. The
assessments stay in the output folder, so that a second run reads them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rasterio.windows import Window

from damagenet.card import Card, ChipGround
from damagenet.engine.assess import assess_scene
from damagenet.engine.work import plan_work
from damagenet.errors import DataError
from damagenet.evaluation.truth import Words, join_survey, read_survey
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.recipe import Bounds
from data_prep.footprints import read_buildings
from data_prep.scene import Scene

AFTER, BEFORE = "_post_disaster", "_pre_disaster"
GRADE_FIELD = "subtype"
GRADES = Words(
    damaged=("minor-damage", "major-damage", "destroyed"),
    undamaged=("no-damage",),
    ignored=("un-classified",),
)
"""What xBD's grades (Gupta et al. 2019) mean here."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedUnits:
    """The buildings of one scene with their probabilities and the truth.

    Attributes:
        scene: The scene.
        frame: Judged buildings: unit_id, p_damaged, lon, lat, damaged_in_truth (bool).
        left_out: Buildings that are not scored, by reason.
    """

    scene: GradedScene
    frame: pd.DataFrame
    left_out: dict[str, int]


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


def comparable(scenes: Sequence[GradedScene], card: Card) -> list[GradedScene]:
    """Return the scenes to score a model on; for one that compares, those after the storm alone.

    Compared with itself a picture shows no change, so that such a model would score as it is made
    and not as it judges, and no second picture from before the storm is at hand.
    """
    return [scene for scene in scenes if scene.after or "pre" not in card.inputs]


def picture_before(scene: GradedScene) -> Path:
    """Return the picture of the same place from before the storm.

    Raises:
        DataError: If there is none beside the scene.
    """
    path = scene.path.with_name(scene.path.name.replace(AFTER, BEFORE))
    if not scene.after or not path.is_file():
        raise DataError(
            f"{scene.path} has no picture from before the storm to compare it with: put "
            f"{path.name} beside it, or score a model that takes one picture"
        )
    return path


def scene_ground(scene: GradedScene) -> Bounds:
    """Return west, south, east, north in degrees of the ground that a scene shows."""
    with Scene.open(scene.path) as opened:
        return _box(opened, Window(0, 0, opened.width, opened.height))


def window_grounds(scene: GradedScene, ground: ChipGround) -> list[Bounds]:
    """Return west, south, east, north in degrees of what is seen around each building.

    Args:
        scene: The scene with its buildings.
        ground: The ground that a chip of the model covers.
    """
    with Scene.open(scene.path) as opened:
        work = plan_work(opened, ground, AssessOptions(), read_buildings(scene.buildings))
        units = [unit for piece in range(len(work.sizes)) for unit in work.units(piece)]
        return [_around(opened, unit.windows) for unit in units if unit.windows]


def judge_scene(scene: GradedScene, predictor: Predictor, out: Path) -> GradedUnits:
    """Assess the buildings of a scene and bring them together with their grades.

    A model that compares two pictures is given the one from before the storm of the same place.

    Args:
        scene: The scene, one of `comparable` for such a model.
        predictor: The model, on its device.
        out: Folder of this model's assessments; one that is there already is read back.

    Raises:
        DataError: If the model compares two pictures and there is none from before the storm.
        DamageNetError: As `damagenet assess` does.
    """
    # The protocol counts every building, also those at the edge of a picture that `assess` leaves
    # unjudged by default, and those that a check of the picture would take out.
    options = AssessOptions(
        buildings=scene.buildings,
        pre=picture_before(scene) if "pre" in predictor.bundle.card.inputs else None,
        clouds="ignore",
        min_valid=0.0,
        overwrite=True,
    )
    assessment = assess_scene(
        scene.path,
        out,
        options,
        predictor,
        stem=scene.name,
        buildings=read_buildings(scene.buildings),
    )
    columns = ["unit_id", "p_damaged", "reason", "lon", "lat"]
    units = pd.concat([pd.DataFrame(part[columns]) for part in assessment.parts()])
    units, left_out = _with_truth(units.reset_index(drop=True), scene)
    judged = units["p_damaged"].notna()
    not_judged = units["reason"][~judged].value_counts()
    return GradedUnits(
        scene=scene,
        frame=units[judged].reset_index(drop=True),
        left_out=left_out | {str(why): int(count) for why, count in not_judged.items()},
    )


def _with_truth(units: pd.DataFrame, scene: GradedScene) -> tuple[pd.DataFrame, dict[str, int]]:
    if not scene.after:
        return units.assign(damaged_in_truth=False), {}
    survey = read_survey(scene.buildings, GRADE_FIELD, GRADES)
    matched, join = join_survey(units, survey)
    return matched, join.truth_ignored


def _around(scene: Scene, windows: Sequence[Window]) -> Bounds:
    boxes = np.array([_box(scene, window) for window in windows])
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    return float(west), float(south), float(east), float(north)


def _box(scene: Scene, window: Window) -> Bounds:
    """Return the ground of the part of a window that lies in the scene."""
    columns = np.clip([window.col_off, window.col_off + window.width], 0, scene.width)
    rows = np.clip([window.row_off, window.row_off + window.height], 0, scene.height)
    lons, lats = scene.lonlat(np.repeat(columns, 2), np.tile(rows, 2))
    return float(lons.min()), float(lats.min()), float(lons.max()), float(lats.max())
