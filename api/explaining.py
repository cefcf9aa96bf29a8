"""What a verdict of a finished job was made of: one unit at a time, beside other requests."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread

from api.atlas import ShownMap
from api.map_index import MapScene
from api.problems import ServiceError, not_found, problem_of
from damagenet.errors import DamageNetError
from damagenet.explain.names import MethodName

if TYPE_CHECKING:
    from damagenet.inference import Predictor

MOST_WAITING = 16
"""Requests that wait for their turn."""
RETRY_S = 5


class Explaining:
    """Lets one explanation be made at a time: it takes a network and its gradients."""

    def __init__(self) -> None:
        self._turn = CapacityLimiter(1)

    async def make(self, picture: Callable[[], bytes]) -> bytes:
        """Return what a function returns, called in a thread when it is its turn.

        Raises:
            ServiceError: 429 with Retry-After, if too many wait.
        """
        if self._turn.statistics().tasks_waiting >= MOST_WAITING:
            raise ServiceError(
                429,
                f"{MOST_WAITING} explanations wait already: try again in {RETRY_S} s",
                {"Retry-After": str(RETRY_S)},
            )
        return await to_thread.run_sync(picture, limiter=self._turn)


def scenes_of(unit: dict[str, Any], shown: ShownMap) -> list[MapScene]:
    """Return the scenes that a unit's verdict may come from, the likeliest first.

    Args:
        unit: Its columns.
        shown: The map of its job.
    """
    stems = str(unit.get("scenes") or "").split("; ")
    named = [scene for scene in shown.index.scenes if scene.name == unit["scene"]]
    return [scene for scene in named if scene.stem in stems] or named


def explanation(
    unit: dict[str, Any], shown: ShownMap, method: MethodName, predictor: "Predictor"
) -> bytes:
    """Return the picture of a unit under its map, as PNG.

    Args:
        unit: Columns of the unit.
        shown: The map of its job.
        method: How it is explained.
        predictor: The model of the job.

    Raises:
        ServiceError: 404 if the unit is on no scene, 422 if it cannot be explained.
    """
    # In a thread: torch takes seconds to import.
    from damagenet.engine.parts import read_assessment
    from damagenet.explain.unit import AssessedPictures, explain_unit

    scene = next(iter(scenes_of(unit, shown)), None)
    assessment = None if scene is None else read_assessment(shown.folder.results / scene.stem)
    if scene is None or assessment is None:
        raise not_found("scene of this unit")
    before = None if assessment.pre is None else assessment.pre.path.name
    try:
        return explain_unit(
            assessment,
            # Cells of several scenes carry the scene's name before their own.
            str(unit["unit_id"]).removeprefix(f"{scene.stem}/"),
            method,
            pictures=AssessedPictures(
                scene=shown.folder.inputs("image") / scene.name,
                pre=None if before is None else shown.folder.inputs("pre") / before,
            ),
            predictor=predictor,
        )
    except DamageNetError as err:
        raise ServiceError(problem_of(err).status, shown.folder.public(str(err))) from err
