"""An assessment that is under way: its parts come in, in any order, until none is missing."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from damagenet.assessment import ASSESSMENT_FILE, Assessment, SceneInfo, SourceItem
from damagenet.card import Card
from damagenet.engine.before import Seen
from damagenet.engine.by_place import forget_places, making_folder, put_in_order
from damagenet.engine.dense import Correction, Measured
from damagenet.engine.key import AssessmentKey
from damagenet.engine.parts import (
    any_records,
    count_records,
    mean_distance,
    missing_parts,
    write_part,
)
from damagenet.engine.progress import Progress
from damagenet.engine.work import Work, wkt
from damagenet.errors import SceneError
from damagenet.labels import Kind
from damagenet.options import AssessOptions
from damagenet.outputs.atomic import appears
from data_prep.scene import Scene, nothing_valid


@dataclass(slots=True, kw_only=True)
class Underway:
    """One assessment under way.

    Attributes:
        seen: The open pictures; those of a finished one lack the picture before.
        work: All its pieces, in the caller's order.
        placed: The same work in the pieces that are made; see `work.by_place`.
        folder: Gets the parts.
        key: What the parts are made of.
        options: Of the assessment.
        card: The model's.
        acquired: When the scene was taken, ISO 8601 or empty.
        item: The STAC Item that led to the scene.
        known: The assessment, where an earlier run has finished it.
        started: When planning began, by `time.perf_counter`.
        progress: Called at once, and after every part.
        measured: How near a dense map comes, where one was tried.
        missing: Pieces of `placed` that had no part when the work began, in order.
    """

    seen: Seen
    work: Work
    placed: Work
    folder: Path
    key: AssessmentKey
    options: AssessOptions
    card: Card
    acquired: str
    item: SourceItem | None
    known: Assessment | None
    started: float
    progress: Callable[[Progress], None] | None
    measured: Measured | None = None
    missing: tuple[int, ...] = field(init=False)
    _made: Path = field(init=False)
    _kept: int = field(init=False)
    _done: int = field(init=False)
    _first: float = field(init=False)

    def __post_init__(self) -> None:
        sizes = self.placed.sizes
        self._made = making_folder(self.folder, self.work, self.placed)
        self.missing = () if self.known else missing_parts(self._made, len(sizes))
        self._kept = self._done = self.work.count - sum(sizes[one] for one in self.missing)
        self._first = time.perf_counter()
        if self.known is None:
            self._tell()

    @property
    def scene(self) -> Scene:
        """The open scene."""
        return self.seen.pictures.scene

    @property
    def correction(self) -> Correction | None:
        """The correction of its dense map; None where every chip is asked by itself."""
        dense = None if self.measured is None else self.measured.dense
        return None if dense is None else dense.correction

    def keep(self, number: int, part: bytes) -> None:
        """Write the part of a finished piece.

        Args:
            number: Of the piece.
            part: Of `part_bytes`.

        Raises:
            OutputError: If it cannot be written.
        """
        write_part(self._made, number, part)
        self._done += self.placed.sizes[number]
        self._tell()

    def finish(self) -> Assessment:
        """Write `assessment.json` once all parts are there; a finished one stays as it is.

        Raises:
            SceneError: If no cell of a grid shows any ground.
            OutputError: If it cannot be written.
        """
        if self.known is not None:
            known = self.known.model_copy(update={"options": self.options, "card": self.card})
            return known.of_item(self.item)
        put_in_order(self.folder, self.work, self.placed)
        if self.work.kind is Kind.CELL and not any_records(self.folder, len(self.work.sizes)):
            raise SceneError(nothing_valid(self.scene.path))
        assessment = self._assessment().of_item(self.item)
        with appears(self.folder / ASSESSMENT_FILE) as path:
            path.write_text(assessment.model_dump_json(indent=2), encoding="utf-8")
        forget_places(self.folder)
        return assessment

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(
                Progress(
                    scene=self.scene.path,
                    units_done=self._done,
                    units_total=self.work.count,
                    units_kept=self._kept,
                    seconds=time.perf_counter() - self._first,
                )
            )

    def _assessment(self) -> Assessment:
        work, parts = self.work, len(self.work.sizes)
        return Assessment(
            stem=self.folder.name,
            folder=self.folder,
            scene=_scene_info(self.scene, self.key.scene, self.acquired),
            kind=work.kind,
            geometry=work.geometry,
            crs=work.crs,
            grid=work.grid,
            attributes=work.attributes,
            card=self.card,
            options=self.options,
            counts=count_records(self.folder, parts, units=work.count),
            key=self.key.sha256,
            parts_written=parts,
            seconds=round(time.perf_counter() - self.started, 3),
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            strangeness=_strangeness(self.folder, parts, self.card),
            warnings=(*self._warnings(), *self.seen.warnings),
            pre=self.seen.pre,
            dense=self.measured and self.measured.info,
        )

    def _warnings(self) -> list[str]:
        found = list(self.scene.warnings)
        if not self.acquired:
            found.append("nobody says when the scene was taken: pass --acquired DATE")
        if self.work.kind is Kind.BUILDING and not self.work.count:
            found.append("none of the buildings touches this scene")
        if self.measured is not None:
            found.append(self.measured.sentence)
        return found


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
