"""One piece to its records: read its chips, ask the model, judge the units."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import ceil

import numpy as np
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.engine.judging import ChipLooks, Judge
from damagenet.engine.prefetch import prefetched
from damagenet.engine.work import Work, record_table
from damagenet.inference import Predictor
from damagenet.labels import Kind
from data_prep.exclusion import Exclusion
from data_prep.scene import Scene
from data_prep.windows import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceMaker:
    """All that the pieces of one scene are made with; a table depends on nothing else.

    Attributes:
        scene: The open scene.
        work: Its units in pieces.
        judge: The rules of its verdicts.
        predictor: The model, on its device.
        exclusion: Ground that is hidden. The network sees it like any other; its pixels only
            count as not usable.
        batch_size: Chips per forward pass.
    """

    scene: Scene
    work: Work
    judge: Judge
    predictor: Predictor
    exclusion: Exclusion | None
    batch_size: int

    def table(self, piece: int) -> GeoDataFrame:
        """Return the records of one piece as the table of its part."""
        with closing(self.tables([piece])) as tables:
            return next(tables)

    def tables(self, pieces: Sequence[int]) -> Generator[GeoDataFrame]:
        """Yield the records of pieces, in order, as the tables of their parts.

        Grid cells without a valid pixel are left out; every building has a row. Only reading runs
        ahead into the next piece: batches never cross pieces, so that a piece is the same wherever
        and after whatever it is made.
        """
        windows = (self._windows(self.work.units(piece)) for piece in pieces)
        requests = (batch for some in windows for batch in _batches(some, self.batch_size))
        with closing(prefetched(self._read, requests)) as reads:
            for piece in pieces:
                units = self.work.units(piece)
                count = ceil(len(self._windows(units)) / self.batch_size)
                yield self._judged(units, self._look(islice(reads, count)))

    def _judged(self, units: Sequence[Unit], looks: ChipLooks) -> GeoDataFrame:
        ends = np.cumsum([len(unit.windows) for unit in units]).tolist()
        starts = [0, *ends]
        seen = [
            (unit, looks[start:end]) for unit, start, end in zip(units, starts, ends, strict=False)
        ]
        if self.work.kind is Kind.CELL:
            seen = [(unit, look) for unit, look in seen if look.imagery.any()]
        kept = [unit for unit, _ in seen]
        records = [self.judge.record(unit, look) for unit, look in seen]
        return record_table(records, [unit.row for unit in kept], self.work.places(kept))

    def _look(self, reads: Iterable["_ReadBatch"]) -> ChipLooks:
        looks = [ChipLooks.nothing()]
        for read in reads:
            probability = np.full(len(read.judged), np.nan)
            if read.judged.any():
                probability[read.judged] = self.predictor.probabilities(read.images)
            looks.append(
                ChipLooks(imagery=read.imagery, usable=read.usable, probability=probability)
            )
        return ChipLooks.joined(looks)

    @staticmethod
    def _windows(units: Sequence[Unit]) -> list[Window]:
        return [window for unit in units for window in unit.windows]

    def _read(self, windows: Sequence[Window]) -> "_ReadBatch":
        """Read one batch; runs in the reading thread, so it also sorts out what to judge."""
        size_px = self.predictor.bundle.card.chip.size_px
        chips = self.scene.read_chips(windows, size_px=size_px)
        usable = chips.valid
        if self.exclusion is not None:
            usable = usable & ~self.exclusion.covers(self.scene, windows, size_px)
        shares = usable.mean(axis=(1, 2))
        judged = np.array([self.judge.enough(share) for share in shares], dtype=bool)
        return _ReadBatch(
            images=tuple(image[judged] for image in chips.images),
            judged=judged,
            imagery=chips.valid.mean(axis=(1, 2)),
            usable=shares,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadBatch:
    """One batch as the reading thread leaves it: N windows, of which M are to be judged."""

    images: tuple[NDArray[np.uint8], ...]  # each (M, 3, S, S)
    judged: NDArray[np.bool_]  # (N,)
    imagery: NDArray[np.float64]  # (N,)
    usable: NDArray[np.float64]  # (N,)


def _batches(windows: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    return (windows[start : start + size] for start in range(0, len(windows), size))
