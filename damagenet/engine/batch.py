"""Many scenes to one folder: each scene's files, `run.json`, `failures.csv` and `DIR/damage.*`."""

import csv
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from damagenet.assessment import Assessment, SourceItem
from damagenet.bundle import Bundle, load_bundle, model_id
from damagenet.card import Card
from damagenet.engine.assess import make_parts
from damagenet.engine.catalog import write_run_catalog
from damagenet.engine.disagreement import count_disagreement, show_disagreement
from damagenet.engine.inputs import Inputs, read_inputs
from damagenet.engine.option_checks import check_options
from damagenet.engine.out_folder import only_run, usable_folder
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
from damagenet.engine.runner import Engine, Runner, make_predictor
from damagenet.engine.scene_list import folder_names
from damagenet.errors import CancelledError, ConfigError, DamageNetError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.outputs.atomic import appears
from damagenet.outputs.trust import nothing_stands

logger = logging.getLogger(__name__)


def assess_scenes(
    scenes: Sequence[Path],
    out: Path,
    options: AssessOptions,
    *,
    command: str = "",
    items: Mapping[Path, SourceItem | None] | None = None,
    predictor: Predictor | None = None,
    progress: Callable[[RunProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> RunResult:
    """Assess scenes into a folder, and write everything asked for.

    Args:
        scenes: Files; see `scene_list.find_scenes`.
        out: Folder of the run; one with earlier runs is added to.
        options: Options of the run.
        command: The command line, for `run.json`.
        items: The STAC Items that led to scenes; see `scene_list.find_with_items`.
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
        if predictor is None:
            bundle = load_bundle(options.bundle, runtime=options.runtime)
        else:
            bundle = predictor.bundle
        check_options(options, bundle.card)
        if nothing := nothing_stands(bundle.card, options):
            logger.warning("%s", nothing)
        inputs = read_inputs(options)
        with (
            _engine(options, bundle, predictor) as engine,
            RunLog(out, record, _new_run(options, bundle.card, inputs, engine, command)) as log,
        ):
            runner = Runner(
                scenes=scenes,
                out=out,
                names=folder_names(scenes, record.folders(), items),
                items=items or {},
                options=options,
                card=bundle.card,
                inputs=inputs,
                log=log,
                progress=progress,
                cancelled=cancelled,
            )
            assessments = list(engine.assess(runner))
        table = write_run_table(out, log.record, options, inputs)
        told = _compare(out, table, inputs, log)
        write_run_catalog(out, log.record, assessments)
        _write_failures(out, log.run.failed)
    return RunResult(
        out=out,
        run=log.run,
        assessments=tuple(assessments),
        merged=table.files,
        warnings=(*inputs.warnings, *table.warnings, *told),
    )


@contextmanager
def _engine(
    options: AssessOptions, bundle: Bundle, predictor: Predictor | None
) -> Iterator[Engine]:
    if options.engine == "ray":
        from damagenet.cluster.engine import ray_engine

        with ray_engine(options, bundle) as engine:
            yield engine
    else:
        here = predictor or make_predictor(bundle, options, device=options.device)
        yield Engine(device=str(here.device), assess=partial(_assess_here, predictor=here))


def _assess_here(runner: Runner, predictor: Predictor) -> Iterator[Assessment]:
    """Assess scene after scene in this process."""
    for number in range(1, len(runner.scenes) + 1):
        started = time.perf_counter()
        try:
            with runner.begun(number) as underway:
                make_parts(underway, predictor, runner.inputs, runner.cancelled)
                assessment = runner.finish(underway)
        except (CancelledError, ConfigError):
            # The one is no failure; the other would befall every scene alike.
            raise
        except DamageNetError as err:
            runner.failed(number, err, time.perf_counter() - started)
            if runner.options.on_error == "fail":
                return
            continue
        runner.succeeded(number, assessment, time.perf_counter() - started)
        yield assessment


def _compare(out: Path, table: RunTable, inputs: Inputs, log: RunLog) -> tuple[str, ...]:
    """Count where scenes contradict each other, show it, and return what must be said of it."""
    if inputs.buildings is None or not table.assessments:
        return ()
    found = count_disagreement(table.assessments, buildings=len(inputs.buildings.frame))
    log.compare(shared=found.shared, disagree=found.disagree)
    return show_disagreement(out, found) if len(table.assessments) > 1 else ()


def _new_run(
    options: AssessOptions, card: Card, inputs: Inputs, engine: Engine, command: str
) -> Run:
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
        device=engine.device,
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
