"""The post-event protocol: buildings of the xBD scenes, seen after the storm and before it.

Every building goes the way of `damagenet assess`: scene, windows, chips, pieces, `Predictor`. The
assessments stay in the output folder, so that a second run reads them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from damagenet.card import Card, ChipGround
from damagenet.engine.assess import assess_scene
from damagenet.engine.work import plan_work
from damagenet.errors import DataError
from damagenet.evaluation.survey_options import Words
from damagenet.evaluation.truth import join_survey, read_survey
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.recipe import Bounds
from data_prep.footprints import read_buildings
from data_prep.graded import (
    DAMAGED,
    GRADE_FIELD,
    UNDAMAGED,
    UNGRADED,
    GradedScene,
    ground_of,
)
from data_prep.scene import Scene

GRADES = Words(damaged=DAMAGED, undamaged=UNDAMAGED, ignored=UNGRADED)
"""What xBD's grades mean here."""


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
    path = scene.before
    if not scene.after or not path.is_file():
        raise DataError(
            f"{scene.path} has no picture from before the storm to compare it with: put "
            f"{path.name} beside it, or score a model that takes one picture"
        )
    return path


def window_grounds(scene: GradedScene, ground: ChipGround) -> list[Bounds]:
    """Return west, south, east, north in degrees of what is seen around each building.

    Args:
        scene: The scene with its buildings.
        ground: The ground that a chip of the model covers.
    """
    with Scene.open(scene.path) as opened:
        work = plan_work(opened, ground, AssessOptions(), read_buildings(scene.buildings))
        units = [unit for piece in range(len(work.sizes)) for unit in work.units(piece)]
        return [ground_of(opened, unit.windows) for unit in units if unit.windows]


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
