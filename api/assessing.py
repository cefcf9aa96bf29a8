"""A job of the process `assess`: the very assessment that the command line makes, then maps."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from api.assess_result import assess_result
from api.bundles import model_folder
from api.maps import make_map_images
from api.orders import Order
from api.problems import ServiceError
from api.schemas import StepInTime
from damagenet.bundle import load_bundle
from damagenet.config import make_settings
from damagenet.engine.batch import assess_scenes
from damagenet.engine.run_result import RunProgress, RunResult
from damagenet.inference import Predictor
from damagenet.options import AUTO, FORMATS, AssessOptions, Runtime

MODELS_KEPT = 2
"""Models that a runner keeps loaded: those with one picture and with two."""


def assess_job(order: Order, tell: Callable[[StepInTime], None]) -> dict[str, Any]:
    """Assess the scenes of a job into its folder and return what is to be said of it.

    Raises:
        DamageNetError: If nothing could be assessed.
    """
    options = job_options(order)
    scenes = order.folder.files("image")
    predictor = _predictor(options.bundle, options.device, options.batch_size, options.runtime)
    watch = _Watch(tell)
    result = assess_scenes(
        scenes,
        order.folder.results,
        options,
        command=f"assessment {order.job_id}",
        predictor=predictor,
        progress=watch.hear,
    )
    if not result.assessments:
        raise _nothing_done(result)
    watch.tell("mapping", scenes=len(scenes))
    make_map_images(order.folder)
    return assess_result(result, order.folder, predictor.bundle.card)


def job_options(order: Order) -> AssessOptions:
    """Return the options of a job with its files filled in; raise ConfigError for a wrong one."""
    folder = order.folder
    values: dict[str, Any] = dict(order.options)
    for role in ("buildings", "exclude"):
        for path in folder.files(role):
            values[role] = path
    pictures = folder.files("pre")
    if pictures:
        values["pre"] = pictures[0] if len(pictures) == 1 else folder.inputs("pre")
    name = values.get("model", AUTO)
    if name != AUTO:
        values["model"] = str(model_folder(name, order.models))
    ours = {"format": FORMATS, "device": order.device, "runtime": order.runtime}
    return make_settings(AssessOptions, values | ours)


@lru_cache(maxsize=MODELS_KEPT)
def _predictor(bundle: str, device: str, batch_size: int | None, runtime: Runtime) -> Predictor:
    loaded = load_bundle(bundle, runtime=runtime)
    return Predictor(loaded, device=device, batch_size=batch_size, runtime=runtime)


def _nothing_done(result: RunResult) -> ServiceError:
    sentences = [f"{scene.path.name}: {scene.sentence}" for scene in result.failures]
    return ServiceError(422, "no scene could be assessed: " + "; ".join(sentences))


class _Watch:
    """Tells how far a run is, and how long the rest takes at the pace so far."""

    def __init__(self, tell: Callable[[StepInTime], None]) -> None:
        self._tell = tell
        self._first: tuple[float, float] | None = None

    def hear(self, progress: RunProgress) -> None:
        """Pass on one sign of life of the engine."""
        scene = progress.scene
        share = scene.units_done / scene.units_total if scene.units_total else 1.0
        self.tell(
            "assessing" if scene.units_done < scene.units_total else "writing",
            scene=scene.scene.name,
            number=progress.number,
            scenes=progress.scenes,
            units_done=scene.units_done,
            units_total=scene.units_total,
            seconds_left=self._left((progress.number - 1 + share) / progress.scenes),
        )

    def tell(self, stage: str, **known: Any) -> None:
        """Tell of a stage; `known` are fields of a step."""
        self._tell(StepInTime.model_validate({"stage": stage, **known}))

    def _left(self, done: float) -> float | None:
        moment = time.monotonic()
        if self._first is None:
            self._first = (moment, done)
        begun, done_before = self._first
        if done <= done_before:
            return None
        return round((moment - begun) / (done - done_before) * (1 - done), 1)
