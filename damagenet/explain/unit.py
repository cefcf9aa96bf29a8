"""One unit of a finished assessment, explained from the pictures that the verdict was made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import geopandas as gpd
import numpy as np

from damagenet.assessment import ROW_COLUMN, Assessment
from damagenet.engine.assess import piece_maker
from damagenet.engine.before import Seen, scene_options
from damagenet.engine.inputs import Inputs
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.work import CellWork, Work, plan_work
from damagenet.errors import ConfigError, SceneError
from damagenet.explain.explainer import Explainer
from damagenet.explain.names import MethodName
from damagenet.explain.picture import Pixels
from damagenet.explain.shown import Look, look_png
from damagenet.inference import Predictor
from data_prep.footprints import Buildings
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene
from data_prep.windows import GridPiece, Unit

MOST_WINDOWS = 256
"""Chips of one unit that are looked through for the one that decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedPictures:
    """Where the pictures of an assessment lie now.

    Attributes:
        scene: The scene.
        pre: The picture before it; None for models that take one picture.
    """

    scene: Path
    pre: Path | None = None


def explain_unit(
    assessment: Assessment,
    unit_id: str,
    method: MethodName,
    *,
    pictures: AssessedPictures,
    predictor: Predictor,
) -> bytes:
    """Return the picture of a unit under its map, as PNG; of several chips, that which decides.

    The shift of the picture before is the one that the assessment found.

    Args:
        assessment: The finished one.
        unit_id: As in its parts.
        method: How it is explained.
        pictures: What it was made of.
        predictor: Of the model that it was made by.

    Raises:
        ConfigError: If the model is another one, the method is not made for it, there is no such
            unit, or it was not judged.
        SceneError: If a picture is gone or cannot be read.
    """
    bundle = predictor.bundle
    if bundle.card.weights_sha256 != assessment.card.weights_sha256:
        raise ConfigError(
            f"model {bundle.card.name} is not the one that made this assessment any more: assess "
            "again with it, then ask"
        )
    explainer = Explainer(bundle, [method], device=str(predictor.device))
    record = _record(assessment, unit_id)
    with _opened(assessment, pictures) as seen:
        work = _work_on(record, assessment, seen.pictures.scene)
        maker = piece_maker(seen, work, assessment.options, predictor, Inputs())
        chip = _deciding_chip(maker, _unit(work, record))
    if chip is None:
        raise ConfigError(f"unit {unit_id} was not judged, so that nothing can be explained")
    probability, images = chip
    found = explainer.explain(method, tuple(image[np.newaxis] for image in images))
    look = Look(probability=probability, images=images, found={method: found})
    said = {"unit_id": unit_id, "verdict": str(record["label"].iloc[0])}
    return look_png(look, explainer, method, unit=said)


def _record(assessment: Assessment, unit_id: str) -> gpd.GeoDataFrame:
    """Return the record of a unit, one row."""
    for part in assessment.part_paths():
        found = gpd.read_parquet(part, filters=[("unit_id", "==", unit_id)])
        if len(found):
            return found
    raise ConfigError(f"there is no unit {unit_id!r} in this assessment: take an id of its results")


@contextmanager
def _opened(assessment: Assessment, pictures: AssessedPictures) -> Iterator[Seen]:
    opening = scene_options(assessment.options, assessment.card)
    with Scene.open(_there(pictures.scene), opening) as scene:
        if assessment.pre is None or pictures.pre is None:
            yield Seen(pictures=Pictures(scene=scene))
            return
        shift = assessment.pre.shift
        with open_pre(_there(pictures.pre), scene, opening, shift=shift) as pre:
            yield Seen(pictures=Pictures(scene=scene, pre=pre, shift=shift))


def _there(path: Path) -> Path:
    if not path.is_file():
        raise SceneError(f"{path} is not there any more: assess it again")
    return path


def _work_on(record: gpd.GeoDataFrame, assessment: Assessment, scene: Scene) -> Work:
    """Return the work on one building, or on the grid that a cell is of."""
    buildings = None
    if assessment.grid is None:
        buildings = Buildings(
            frame=record[["unit_id", "geometry"]],
            path=assessment.folder,
            geometry=assessment.geometry,
        )
    return plan_work(scene, assessment.card.chip, assessment.options, buildings)


def _unit(work: Work, record: gpd.GeoDataFrame) -> Unit | None:
    if not isinstance(work, CellWork):
        return next((unit for piece in work.pieces for unit in piece), None)
    row, column = divmod(int(record[ROW_COLUMN].iloc[0]), work.cells.columns)
    alone = GridPiece(
        number=0, first_row=row, last_row=row + 1, first_column=column, last_column=column + 1
    )
    return work.cells.units(alone)[0]


def _deciding_chip(maker: PieceMaker, unit: Unit | None) -> tuple[float, tuple[Pixels, ...]] | None:
    """Return the probability and pixels of the judged chip with the largest one; None without."""
    best: tuple[float, tuple[Pixels, ...]] | None = None
    windows = iter(() if unit is None else unit.windows[:MOST_WINDOWS])
    while some := list(islice(windows, maker.predictor.batch_size)):
        read = maker.read(some)
        if not read.judged.any():
            continue
        probability = maker.predictor.probabilities(read.images)
        chip = int(probability.argmax())
        if best is None or probability[chip] > best[0]:
            best = float(probability[chip]), tuple(image[chip] for image in read.images)
    return best
