"""What all scenes of a run have in common, and what is done before and after their pieces."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from damagenet.assessment import Assessment, SourceItem
from damagenet.bundle import Bundle
from damagenet.card import Card
from damagenet.engine.assess import begun
from damagenet.engine.before import scene_options
from damagenet.engine.inputs import Inputs
from damagenet.engine.progress import Progress
from damagenet.engine.run_record import RunLog, SceneRun
from damagenet.engine.run_result import RunProgress
from damagenet.engine.underway import Underway
from damagenet.errors import DamageNetError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.outputs.layer import cannot_write
from damagenet.outputs.trust import trust
from damagenet.outputs.writing import write_outputs
from data_prep.scene import Scene

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One run over scenes, whoever makes their parts.

    Attributes:
        scenes: All of them, in order; their numbers count from 1.
        out: Folder of the run.
        names: Names of the scenes' folders in it.
        items: The STAC Items that led to scenes.
        options: Of the run.
        card: The model's.
        inputs: What is read beside the scenes.
        log: Told of every scene that has ended.
        progress: Called before the first piece of a scene and after every piece.
        cancelled: Asked between pieces.
    """

    scenes: Sequence[Path]
    out: Path
    names: dict[Path, str]
    items: Mapping[Path, SourceItem | None]
    options: AssessOptions
    card: Card
    inputs: Inputs
    log: RunLog
    progress: Callable[[RunProgress], None] | None
    cancelled: Callable[[], bool] | None

    @contextmanager
    def begun(self, number: int) -> Iterator[Underway]:
        """Open a scene and plan its work; otherwise as `assess.begun`.

        Raises:
            SceneError: If it cannot be opened.
        """
        path = self.scenes[number - 1]
        with (
            Scene.open(path, scene_options(self.options, self.card)) as scene,
            begun(
                scene,
                self.out / self.names[path],
                self.options,
                self.card,
                inputs=replace(self.inputs, item=self.items.get(path)),
                progress=self._numbered(number),
            ) as underway,
        ):
            yield underway

    def finish(self, underway: Underway) -> Assessment:
        """Write the files of a scene whose parts are all there.

        Raises:
            SceneError: If no cell shows ground, or the scene cannot be read for the report.
            OutputError: If a file cannot be written.
        """
        assessment = underway.finish()
        ruled_out = cannot_write(assessment.crs, self.options.format)
        warnings = dict.fromkeys((*assessment.warnings, *ruled_out.values()))
        assessment = assessment.model_copy(update={"warnings": tuple(warnings)})
        possible = [name for name in self.options.format if name not in ruled_out]
        write_outputs(assessment, possible, scene=underway.scene)
        for warning in assessment.warnings:
            logger.warning("%s: %s", underway.scene.path.name, warning)
        return assessment

    def succeeded(self, number: int, assessment: Assessment, seconds: float) -> None:
        """Log a scene that has its files, after so many seconds of wall time."""
        scene = SceneRun(
            path=self.scenes[number - 1].resolve(),
            folder=assessment.stem,
            status="ok",
            sha256=assessment.scene.sha256,
            counts=assessment.counts,
            trust=trust(assessment),
            seconds=round(seconds, 3),
            warnings=assessment.warnings,
        )
        self.log.add(scene, number)

    def failed(self, number: int, err: DamageNetError, seconds: float) -> None:
        """Log a scene that failed, after so many seconds of wall time, and say why."""
        path = self.scenes[number - 1]
        scene = SceneRun(
            path=path.resolve(),
            folder=self.names[path],
            status="failed",
            error=type(err).__name__,
            sentence=str(err),
            seconds=round(seconds, 3),
        )
        self.log.add(scene, number)
        logger.error("%s failed: %s", path.name, err)

    def _numbered(self, number: int) -> Callable[[Progress], None] | None:
        tell = self.progress
        if tell is None:
            return None
        return lambda scene: tell(RunProgress(number=number, scenes=len(self.scenes), scene=scene))


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Who makes the parts of a run.

    Attributes:
        device: Where the network runs, for `run.json`.
        assess: Assesses the scenes of a run, and returns those that succeeded, in order.
    """

    device: str
    assess: Callable[[Runner], Iterable[Assessment]]


def make_predictor(bundle: Bundle, options: AssessOptions, *, device: str) -> Predictor:
    """Return what asks the model of a run, on a device of this machine.

    Raises:
        ConfigError: As `Predictor`.
        DeviceError: Likewise.
    """
    return Predictor(bundle, device=device, batch_size=options.batch_size, runtime=options.runtime)
