"""One scene to its assessment: piece by piece, each finished piece one part on disk.

Progress, resume and cancel know only pieces. What was finished before an interruption is kept,
and because a piece depends on scene and options alone, the rest comes out the same.
"""

import datetime as dt
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from damagenet.assessment import ASSESSMENT_FILE, Assessment, SceneInfo
from damagenet.card import Card
from damagenet.engine.before import Seen, find_pre, opened_pictures, scene_options
from damagenet.engine.dense_sample import looking_densely
from damagenet.engine.fingerprints import scene_sha256
from damagenet.engine.inputs import Inputs
from damagenet.engine.judging import Judge
from damagenet.engine.key import AssessmentKey, InputHashes
from damagenet.engine.parts import (
    any_records,
    count_records,
    finished_parts,
    mean_distance,
    open_parts,
    read_assessment,
    whole_or_none,
    write_part,
)
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.work import Work, plan_work, wkt
from damagenet.errors import CancelledError, ConfigError, SceneError
from damagenet.inference import Predictor
from damagenet.labels import Kind
from damagenet.options import AssessOptions
from damagenet.outputs.atomic import appears
from data_prep.exclusion import Exclusion
from data_prep.footprints import Buildings
from data_prep.scene import Scene, nothing_valid
from data_prep.windows import check_stride
from models.dense import can_be_dense


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the work on one scene is; said before the first piece and after every piece.

    Attributes:
        scene: The scene's file.
        units_done: Units that are on disk, those of an earlier run included.
        units_total: All units of the scene, empty grid cells included.
        units_kept: Units that an earlier run had finished.
        seconds: Wall time since the first piece of this run started.
    """

    scene: Path
    units_done: int
    units_total: int
    units_kept: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears of progress, and who may stop the work between two pieces."""

    progress: Callable[[Progress], None] | None = None
    cancelled: Callable[[], bool] | None = None


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
        OutputError: If parts cannot be written, or other results are in the way.
        CancelledError: If `cancelled` said so; finished parts stay, and the same call goes on.
    """
    hashes = InputHashes.of(options)
    inputs = Inputs(buildings=buildings, exclusion=exclusion, hashes=hashes)
    listener = Listener(progress=progress, cancelled=cancelled)
    with Scene.open(path, scene_options(options, predictor.bundle.card)) as scene:
        return assess_opened(
            scene, out / stem, options, predictor, inputs=inputs, listener=listener
        )


def assess_opened(
    scene: Scene,
    folder: Path,
    options: AssessOptions,
    predictor: Predictor,
    *,
    inputs: Inputs,
    listener: Listener,
) -> Assessment:
    """Assess an open scene into its folder; otherwise as `assess_scene`."""
    check_options(options, predictor.bundle.card)
    started = time.perf_counter()
    card = predictor.bundle.card
    able = can_be_dense(card.model)
    work = plan_work(scene, card.chip, options, inputs.buildings, dense=able)
    pre = find_pre(scene, options)
    hashes = inputs.hashes.model_copy(update={"pre": None if pre is None else pre.sha256})
    key = AssessmentKey.of(scene_sha256(scene.path), card, options, hashes, dense=work.dense)
    open_parts(folder, key, resume=options.resume, overwrite=options.overwrite)
    known = read_assessment(folder)
    if known is not None and finished_parts(folder, known.parts_written) == known.parts_written:
        return known.model_copy(update={"options": options, "card": card})
    with whole_or_none(folder), opened_pictures(scene, options, card, pre) as seen:
        maker = looking_densely(piece_maker(seen, work, options, predictor, inputs), options)
        _make_parts(maker, folder, listener)
    assessment = _assessment(maker, seen, folder, options, key=key, started=started)
    with appears(folder / ASSESSMENT_FILE) as path:
        path.write_text(assessment.model_dump_json(indent=2), encoding="utf-8")
    return assessment


def check_options(options: AssessOptions, card: Card) -> None:
    """Check what no single option can: the options against each other and against the model.

    Raises:
        ConfigError: If one would be ignored, or asks for what the model cannot do.
    """
    if options.id_field is not None and options.buildings is None:
        raise ConfigError(
            f"--id-field {options.id_field} is a column of --buildings, which is not given: "
            "name the file with --buildings, or leave --id-field out"
        )
    if options.stride is not None and options.buildings is not None:
        raise ConfigError(
            f"--stride {options.stride:g} cuts a grid, and --buildings takes its place: "
            "leave one of them out"
        )
    if options.stride is not None:
        check_stride(options.stride, card.chip)
    if options.pre is not None and card.inputs != ("post", "pre"):
        raise ConfigError(
            f"--pre {options.pre} cannot be used: model {card.name} takes one picture "
            f"({', '.join(card.inputs)}), not post and pre; leave --pre out"
        )
    if options.pre is None and "pre" in card.inputs:
        raise ConfigError(f"model {card.name} compares two pictures: give the other with --pre")


def acquired_text(given: dt.datetime | dt.date | None) -> str:
    """Return the option `--acquired` as ISO 8601: a date alone where no time was given."""
    return "" if given is None else given.isoformat()


def piece_maker(
    seen: Seen, work: Work, options: AssessOptions, predictor: Predictor, inputs: Inputs
) -> PieceMaker:
    """Return what the pieces of open pictures are made with."""
    pictures, card = seen.pictures, predictor.bundle.card
    acquired = pictures.scene.acquired or acquired_text(options.acquired)
    return PieceMaker(
        pictures=pictures,
        work=work,
        judge=Judge.of(pictures.scene, card, options, acquired=acquired, pre=pictures.pre),
        predictor=predictor,
        exclusion=inputs.exclusion,
        check_clouds=options.clouds == "check",
    )


def _make_parts(maker: PieceMaker, folder: Path, listener: Listener) -> None:
    sizes, started = maker.work.sizes, time.perf_counter()
    first = finished_parts(folder, len(sizes))
    done, kept, total = sum(sizes[:first]), sum(sizes[:first]), sum(sizes)

    def tell() -> None:
        if listener.progress is not None:
            listener.progress(
                Progress(
                    scene=maker.pictures.scene.path,
                    units_done=done,
                    units_total=total,
                    units_kept=kept,
                    seconds=time.perf_counter() - started,
                )
            )

    tell()
    missing = range(first, len(sizes))
    with closing(maker.tables(missing)) as tables:
        for number in missing:
            _stop_if_asked(maker.pictures.scene, listener)
            write_part(folder, number, next(tables))
            done += sizes[number]
            tell()
    if maker.work.kind is Kind.CELL and not any_records(folder, len(sizes)):
        raise SceneError(nothing_valid(maker.pictures.scene.path))


def _stop_if_asked(scene: Scene, listener: Listener) -> None:
    if listener.cancelled is not None and listener.cancelled():
        raise CancelledError(f"{scene.path} was cancelled; run the same again to continue")


def _assessment(
    maker: PieceMaker,
    seen: Seen,
    folder: Path,
    options: AssessOptions,
    *,
    key: AssessmentKey,
    started: float,
) -> Assessment:
    work, card = maker.work, maker.predictor.bundle.card
    strangeness = _strangeness(folder, len(work.sizes), card)
    return Assessment(
        stem=folder.name,
        folder=folder,
        scene=_scene_info(maker.pictures.scene, key.scene, maker.judge.acquired),
        kind=work.kind,
        geometry=work.geometry,
        crs=work.crs,
        grid=work.grid,
        attributes=work.attributes,
        card=card,
        options=options,
        counts=count_records(folder, len(work.sizes), units=sum(work.sizes)),
        key=key.sha256,
        parts_written=len(work.sizes),
        seconds=round(time.perf_counter() - started, 3),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        strangeness=strangeness,
        warnings=(*_warnings(maker), *seen.warnings),
        pre=seen.pre,
        dense=maker.measured and maker.measured.info,
    )


def _strangeness(folder: Path, parts: int, card: Card) -> float | None:
    """Return how far the judged chips lie from the training tiles, 1.0 being held-out ground."""
    distance = None if card.strangeness is None else mean_distance(folder, parts)
    if card.strangeness is None or distance is None:
        return None
    return round(distance / card.strangeness.typical, 3)


def _scene_info(scene: Scene, sha256: str, acquired: str) -> SceneInfo:
    a, b, c, d, e, f = tuple(scene.transform)[:6]
    return SceneInfo(
        path=scene.path.absolute() if scene.path.exists() else scene.path,
        sha256=sha256,
        width=scene.width,
        height=scene.height,
        transform=(a, b, c, d, e, f),
        crs=wkt(scene.crs),
        pixel_m=scene.pixel_m,
        acquired=acquired,
        bands=tuple(scene.bands),
    )


def _warnings(maker: PieceMaker) -> tuple[str, ...]:
    found = list(maker.pictures.scene.warnings)
    if not maker.judge.acquired:
        found.append("nobody says when the scene was taken: pass --acquired DATE")
    if maker.work.kind is Kind.BUILDING and not sum(maker.work.sizes):
        found.append("none of the buildings touches this scene")
    if maker.measured is not None:
        found.append(maker.measured.sentence)
    return tuple(found)
