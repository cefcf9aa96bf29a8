"""A worker of a cluster: keeps the model loaded, and makes the parts of pieces."""

import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from damagenet.assessment import Shift
from damagenet.bundle import Bundle
from damagenet.engine.assess import piece_maker
from damagenet.engine.before import Seen, scene_options
from damagenet.engine.dense import Correction
from damagenet.engine.dense_sample import with_correction
from damagenet.engine.inputs import Inputs
from damagenet.engine.parts import part_bytes
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.run_record import versions
from damagenet.engine.runner import make_predictor
from damagenet.engine.work import BuildingWork, CellWork, Work, plan_work
from damagenet.errors import DamageNetError, UnreachableError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene
from data_prep.windows import GridPiece

ENDS = 1 << 16
"""Bytes at both ends of a file by which it is known again; a whole scene takes too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """A file as the driver sees it, so that a worker can tell whether it sees the same.

    Attributes:
        path: Absolute; an address of the network stays what it is.
        mark: Its size and a hash of its two ends; empty for what is no file.
    """

    path: Path
    mark: str

    @classmethod
    def of(cls, path: Path) -> "SeenFile":
        """Look at a file.

        Raises:
            UnreachableError: If it cannot be read.
        """
        if not path.exists():
            return cls(path=path, mark="")
        return cls(path=path.absolute(), mark=_mark(path))

    def check(self) -> None:
        """Raise UnreachableError if this machine does not see the same file."""
        if not self.mark:
            return
        every = "every machine of the cluster must read the scenes under the same path"
        if not self.path.exists():
            raise UnreachableError(f"{self.path} is not there on {socket.gethostname()}: {every}")
        if _mark(self.path) != self.mark:
            raise UnreachableError(
                f"{self.path} is another file on {socket.gethostname()}: {every}"
            )


Cut = tuple[GridPiece, ...] | BuildingWork
"""Pieces apart from their scene, which cannot travel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some pieces of a scene, with all that a worker needs to make their parts.

    Attributes:
        number: Of the scene in the run.
        pieces: Numbers of the pieces.
        cut: The same pieces, as they were cut: rectangles of the grid, or buildings.
        scene: The scene's file.
        pre: The picture before it.
        shift: How far that lies off.
        acquired: When the scene was taken, ISO 8601 or empty.
        correction: Of the scene's dense map; None where every chip is asked by itself.
    """

    number: int
    pieces: tuple[int, ...]
    cut: Cut
    scene: SeenFile
    pre: SeenFile | None
    shift: Shift | None
    acquired: str
    correction: Correction | None


def cut_of(work: Work, pieces: Sequence[int]) -> Cut:
    """Return some of the pieces of a scene's work, without the buildings of all others."""
    if isinstance(work, CellWork):
        return tuple(work.pieces[number] for number in pieces)
    chosen = tuple(work.pieces[number] for number in pieces)
    rows = [unit.row for piece in chosen for unit in piece]
    return replace(work, pieces=chosen, frame=work.frame.loc[rows])


class Worker:
    """Makes parts in a process of its own; becomes an actor of Ray.

    Args:
        bundle: The model.
        options: Of the run.
        inputs: What is read beside the scenes.
        device: `cpu` or `cuda`.
    """

    def __init__(self, bundle: Bundle, options: AssessOptions, inputs: Inputs, device: str) -> None:
        self._bundle, self._options, self._inputs = bundle, options, inputs
        self._device = device
        self._predictor: Predictor
        self._opened = ExitStack()
        self._pictures: Pictures | None = None
        self._scene: SeenFile | None = None
        self._cells: CellWork | None = None

    def ready(self) -> dict[str, str] | DamageNetError:
        """Load the model; return the versions of what shapes results, or why it cannot."""
        if self._device == "cpu":
            # One core was asked for, and others have the rest.
            torch.set_num_threads(1)
        try:
            self._predictor = make_predictor(self._bundle, self._options, device=self._device)
        except DamageNetError as err:
            return err
        return versions() | {"machine": socket.gethostname()}

    def parts(self, share: Share) -> list[bytes] | DamageNetError:
        """Return the parts of a share's pieces, in order, or what is wrong with the scene."""
        try:
            maker = self._maker_of(share)
            with closing(maker.tables(range(len(share.pieces)))) as tables:
                return [part_bytes(table) for table in tables]
        except DamageNetError as err:
            return err

    def _maker_of(self, share: Share) -> PieceMaker:
        """Return what makes the pieces of a share; the last scene stays open."""
        if self._pictures is None or self._scene != share.scene:
            self._pictures = self._cells = None
            self._opened.close()
            self._pictures = self._opened.enter_context(self._open(share))
            self._scene = share.scene
        work = self._work(share, self._pictures.scene)
        seen = Seen(pictures=self._pictures)
        maker = piece_maker(
            seen, work, self._options, self._predictor, self._inputs, acquired=share.acquired
        )
        return maker if share.correction is None else with_correction(maker, share.correction)

    def _work(self, share: Share, scene: Scene) -> Work:
        if isinstance(share.cut, BuildingWork):
            return share.cut
        if self._cells is None:  # planned once: a large grid takes a while
            cells = plan_work(scene, self._bundle.card.chip, self._options, None)
            self._cells = cast("CellWork", cells)  # as there are no buildings
        return replace(self._cells, pieces=share.cut)

    @contextmanager
    def _open(self, share: Share) -> Iterator[Pictures]:
        opening = scene_options(self._options, self._bundle.card)
        share.scene.check()
        with Scene.open(share.scene.path, opening) as scene, ExitStack() as opened:
            pre = None
            if share.pre is not None:
                share.pre.check()
                before = open_pre(share.pre.path, scene, opening, shift=share.shift)
                pre = opened.enter_context(before)
            yield Pictures(scene=scene, pre=pre, shift=share.shift)


def _mark(path: Path) -> str:
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            ends = file.read(ENDS)
            file.seek(max(0, size - ENDS))
            ends += file.read(ENDS)
    except OSError as err:
        raise UnreachableError(f"cannot read {path}: {err.strerror}") from err
    return f"{size} bytes, {hashlib.sha256(ends).hexdigest()}"
