"""One scene to its assessment: piece by piece, each finished piece one part on disk.

Progress, resume and cancel know only pieces. What was finished before an interruption is kept,
and because a piece depends on scene and options alone, the rest comes out the same.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.card import Card
from damagenet.engine.before import Seen, find_pre, found_again, opened_pictures, scene_options
from damagenet.engine.dense_sample import looking_densely
from damagenet.engine.fingerprints import scene_sha256
from damagenet.engine.inputs import Inputs
from damagenet.engine.judging import Judge
from damagenet.engine.key import AssessmentKey, InputHashes
from damagenet.engine.option_checks import check_options
from damagenet.engine.parts import finished_assessment, open_parts, part_bytes, whole_or_none
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.progress import Progress
from damagenet.engine.underway import Underway
from damagenet.engine.work import Work, by_place, cut_sha256, plan_work
from damagenet.errors import CancelledError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.exclusion import Exclusion
from data_prep.footprints import Buildings
from data_prep.scene import Scene
from models.dense import can_be_dense


def assess_scene(
    path: Path,
    out: Path,
    options: AssessOptions,
    predictor: Predictor,
    *,
    stem: str,
    buildings: Buildings | None = None,
    exclusion: Exclusion | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Assessment:
    """Assess one scene into `out/stem`: parts and `assessment.json`, no other format.

    Args:
        path: The scene.
        out: Folder of the run.
        options: Options of the assessment; the files they name count only for the key.
        predictor: The model, on its device.
        stem: Name of the scene's folder below `out`.
        buildings: Units to judge; without them, the cells of a grid.
        exclusion: Ground that is hidden.
        progress: Called after every piece.
        cancelled: Asked before every piece.

    Raises:
        ConfigError: If the options ask for what the model cannot do.
        SceneError: If the scene cannot be read or assessed; its parts are removed.
        UnreachableError: If it cannot be read just now; its parts stay, and the same call goes on.
        OutputError: If parts cannot be written, or other results are in the way.
        CancelledError: If `cancelled` said so; finished parts stay, and the same call goes on.
    """
    hashes = InputHashes.of(options)
    inputs = Inputs(buildings=buildings, exclusion=exclusion, hashes=hashes)
    card = predictor.bundle.card
    with (
        Scene.open(path, scene_options(options, card)) as scene,
        begun(scene, out / stem, options, card, inputs=inputs, progress=progress) as underway,
    ):
        make_parts(underway, predictor, inputs, cancelled)
        return underway.finish()


@contextmanager
def begun(
    scene: Scene,
    folder: Path,
    options: AssessOptions,
    card: Card,
    *,
    inputs: Inputs,
    progress: Callable[[Progress], None] | None,
) -> Iterator[Underway]:
    """Plan the work on an open scene, and yield it until its parts are made.

    If the block refuses an unfinished scene, its parts are removed; see `whole_or_none`.

    Raises:
        ConfigError: If the options ask for what the model cannot do.
        SceneError: If the scene, or the picture before it, cannot be used.
        OutputError: If other results are in the way, or the folder cannot be written.
    """
    check_options(options, card)
    started = time.perf_counter()
    able = options.runtime == "torch" and can_be_dense(card.model)
    work = plan_work(scene, card.chip, options, inputs.buildings, dense=able)
    pre = find_pre(scene, options)
    hashes = inputs.hashes.model_copy(update={"pre": None if pre is None else pre.sha256})
    key = AssessmentKey.of(
        scene_sha256(scene.path),
        card,
        options,
        hashes,
        acquired=inputs.acquired,
        dense=work.dense,
    )
    placed = by_place(work, scene.reading_order)
    cut = cut_sha256(placed)
    open_parts(folder, key, cut=cut, resume=options.resume, overwrite=options.overwrite)
    known = found_again(finished_assessment(folder), pre)
    file = None if known else pre  # a finished scene needs no second picture
    guard = nullcontext() if known else whole_or_none(folder)
    with guard, opened_pictures(scene, options, card, file) as seen:
        yield Underway(
            seen=seen,
            work=work,
            placed=placed,
            folder=folder,
            key=key,
            options=options,
            card=card,
            acquired=inputs.acquired or scene.acquired or acquired_text(options.acquired),
            item=inputs.item,
            known=known,
            started=started,
            progress=progress,
        )


def acquired_text(given: dt.datetime | dt.date | None) -> str:
    """Return the option `--acquired` as ISO 8601: a date alone, or a moment, in UTC with a zone."""
    if isinstance(given, dt.datetime) and given.tzinfo is not None:
        given = given.astimezone(dt.UTC)
    return "" if given is None else given.isoformat()


def piece_maker(
    seen: Seen,
    work: Work,
    options: AssessOptions,
    predictor: Predictor,
    inputs: Inputs,
    *,
    acquired: str = "",
) -> PieceMaker:
    """Return what the pieces of open pictures are made with.

    Args:
        seen: The open pictures.
        work: The pieces.
        options: Of the assessment.
        predictor: The model, on its device.
        inputs: What is taken beside the scene.
        acquired: When the scene was taken, for the records: ISO 8601, or empty.
    """
    pictures, card = seen.pictures, predictor.bundle.card
    return PieceMaker(
        pictures=pictures,
        work=work,
        judge=Judge.of(pictures.scene, card, options, acquired=acquired, pre=pictures.pre),
        predictor=predictor,
        exclusion=inputs.exclusion,
        check_clouds=options.clouds == "check",
    )


def underway_maker(underway: Underway, predictor: Predictor, inputs: Inputs) -> PieceMaker:
    """Return what the pieces of an assessment are made with, and note how dense maps come out.

    Raises:
        SceneError: If the scene turns out to be damaged where it is sampled for a dense map.
        FootprintError: If the excluded ground cannot be laid over it.
    """
    maker = piece_maker(
        underway.seen,
        underway.placed,
        underway.options,
        predictor,
        inputs,
        acquired=underway.acquired,
    )
    maker = looking_densely(maker, underway.options)
    underway.measured = maker.measured
    return maker


def make_parts(
    underway: Underway,
    predictor: Predictor,
    inputs: Inputs,
    cancelled: Callable[[], bool] | None,
) -> None:
    """Make the missing parts of an assessment in this process, in order.

    Raises:
        SceneError: If the scene turns out to be damaged.
        OutputError: If a part cannot be written.
        CancelledError: If `cancelled` said so before a piece.
    """
    if underway.known is not None:
        return
    maker = underway_maker(underway, predictor, inputs)
    with closing(maker.tables(underway.missing)) as tables:
        for number in underway.missing:
            stop_if_asked(underway.scene.path, cancelled)
            underway.keep(number, part_bytes(next(tables)))


def stop_if_asked(scene: Path, cancelled: Callable[[], bool] | None) -> None:
    """Raise CancelledError if `cancelled` wants the work to stop."""
    if cancelled is not None and cancelled():
        raise CancelledError(f"{scene} was cancelled; run the same again to continue")
