"""Many scenes to one folder: each scene's files, `run.json`, `failures.csv` and `DIR/damage.*`."""

import csv
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.bundle import load_bundle, model_id
from damagenet.engine.assess import (
    Listener,
    Progress,
    assess_opened,
    check_options,
)
from damagenet.engine.before import scene_options
from damagenet.engine.disagreement import count_disagreement, show_disagreement
from damagenet.engine.inputs import Inputs, read_inputs
from damagenet.engine.out_folder import only_run, usable_folder
from damagenet.engine.parts import whole_or_none
from damagenet.engine.run_record import (
    FAILURES_FILE,
    ModelUsed,
    Run,
    RunLog,
    SceneRun,
    now,
    read_record,
    versions,
)
from damagenet.engine.run_result import RunProgress, RunResult
from damagenet.engine.run_table import RunTable, write_run_table
from damagenet.engine.scene_list import folder_names
from damagenet.errors import CancelledError, ConfigError, DamageNetError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.outputs.atomic import appears
from damagenet.outputs.layer import cannot_write
from damagenet.outputs.trust import nothing_stands, trust
from damagenet.outputs.writing import write_outputs
from data_prep.scene import Scene

logger = logging.getLogger(__name__)


def assess_scenes(
    scenes: Sequence[Path],
    out: Path,
    options: AssessOptions,
    *,
    command: str = "",
    predictor: Predictor | None = None,
    progress: Callable[[RunProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> RunResult:
    """Assess scenes one after the other into a folder, and write everything asked for.

    Args:
        scenes: Files; see `scene_list.find_scenes`.
        out: Folder of the run; one with earlier runs is added to.
        options: Options of the run.
        command: The command line, for `run.json`.
        predictor: The model of the options, where it is loaded already.
        progress: Called after every piece.
        cancelled: Asked before every piece.

    Raises:
        DamageNetError: If model, buildings, exclusion or folder cannot be used, before any scene
            is read. What is wrong with a single scene is in the result instead.
        CancelledError: If `cancelled` said so; the same call goes on.
    """
    with usable_folder(out), only_run(out):
        record = read_record(out)
        predictor = predictor or _predictor(options)
        check_options(options, predictor.bundle.card)
        if nothing := nothing_stands(predictor.bundle.card, options):
            logger.warning("%s", nothing)
        inputs = read_inputs(options)
        runner = _Runner(
            out=out,
            options=options,
            predictor=predictor,
            inputs=inputs,
            names=folder_names(scenes, record.folders()),
            cancelled=cancelled,
        )
        with RunLog(out, record, _new_run(options, predictor, inputs, command)) as log:
            assessments = list(_assess_each(scenes, runner, log, progress))
        table = write_run_table(out, log.record, options, inputs)
        told = _compare(out, table, inputs, log)
        _write_failures(out, log.run.failed)
    return RunResult(
        out=out,
        run=log.run,
        assessments=tuple(assessments),
        merged=table.files,
        warnings=(*inputs.warnings, *table.warnings, *told),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runner:
    """All that the scenes of a run have in common."""

    out: Path
    options: AssessOptions
    predictor: Predictor
    inputs: Inputs
    names: dict[Path, str]
    cancelled: Callable[[], bool] | None

    def assess(self, path: Path, progress: Callable[[Progress], None] | None) -> Assessment:
        """Assess one scene and write its files."""
        listener = Listener(progress=progress, cancelled=self.cancelled)
        with Scene.open(path, scene_options(self.options, self.predictor.bundle.card)) as scene:
            assessment = assess_opened(
                scene,
                self.out / self.names[path],
                self.options,
                self.predictor,
                inputs=self.inputs,
                listener=listener,
            )
            ruled_out = cannot_write(assessment.crs, self.options.format)
            warnings = dict.fromkeys((*assessment.warnings, *ruled_out.values()))
            assessment = assessment.model_copy(update={"warnings": tuple(warnings)})
            possible = [name for name in self.options.format if name not in ruled_out]
            with whole_or_none(assessment.folder):
                write_outputs(assessment, possible, scene=scene)
        for warning in assessment.warnings:
            logger.warning("%s: %s", path.name, warning)
        return assessment


def _assess_each(
    scenes: Sequence[Path],
    runner: _Runner,
    log: RunLog,
    progress: Callable[[RunProgress], None] | None,
) -> Iterator[Assessment]:
    for number, path in enumerate(scenes, start=1):
        started = time.perf_counter()
        tell = None if progress is None else _numbered(progress, number, len(scenes))
        try:
            assessment = runner.assess(path, tell)
        except (CancelledError, ConfigError):
            # The one is no failure; the other would befall every scene alike.
            raise
        except DamageNetError as err:
            log.add(_failed(path, runner.names[path], err, started))
            logger.error("%s failed: %s", path.name, err)
            if runner.options.on_error == "fail":
                return
            continue
        log.add(_succeeded(path, assessment, started))
        yield assessment


def _compare(out: Path, table: RunTable, inputs: Inputs, log: RunLog) -> tuple[str, ...]:
    """Count where scenes contradict each other, show it, and return what must be said of it."""
    if inputs.buildings is None or not table.assessments:
        return ()
    found = count_disagreement(table.assessments, buildings=len(inputs.buildings.frame))
    log.compare(shared=found.shared, disagree=found.disagree)
    return show_disagreement(out, found) if len(table.assessments) > 1 else ()


def _numbered(
    progress: Callable[[RunProgress], None], number: int, scenes: int
) -> Callable[[Progress], None]:
    return lambda scene: progress(RunProgress(number=number, scenes=scenes, scene=scene))


def _predictor(options: AssessOptions) -> Predictor:
    return Predictor(
        load_bundle(options.bundle, runtime=options.runtime),
        device=options.device,
        batch_size=options.batch_size,
        runtime=options.runtime,
    )


def _new_run(options: AssessOptions, predictor: Predictor, inputs: Inputs, command: str) -> Run:
    card = predictor.bundle.card
    return Run(
        started=now(),
        command=command,
        options=options,
        model=ModelUsed(
            id=model_id(card),
            weights_sha256=card.weights_sha256,
            headline=card.headline,
            sentence=card.sentence,
            licence=card.licence,
        ),
        inputs=inputs.hashes,
        versions=versions(),
        device=str(predictor.device),
    )


def _succeeded(path: Path, assessment: Assessment, started: float) -> SceneRun:
    return SceneRun(
        path=path.resolve(),
        folder=assessment.stem,
        status="ok",
        sha256=assessment.scene.sha256,
        counts=assessment.counts,
        trust=trust(assessment),
        seconds=round(time.perf_counter() - started, 3),
        warnings=assessment.warnings,
    )


def _failed(path: Path, folder: str, err: DamageNetError, started: float) -> SceneRun:
    return SceneRun(
        path=path.resolve(),
        folder=folder,
        status="failed",
        error=type(err).__name__,
        sentence=str(err),
        seconds=round(time.perf_counter() - started, 3),
    )


def _write_failures(out: Path, failed: Sequence[SceneRun]) -> None:
    """Write `failures.csv` of this run; without failures there is none."""
    path = out / FAILURES_FILE
    if not failed:
        path.unlink(missing_ok=True)
        return
    with appears(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["scene", "error", "sentence"])
        rows.writerows([str(one.path), one.error, one.sentence] for one in failed)
