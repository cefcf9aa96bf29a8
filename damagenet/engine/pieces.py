"""One piece to its records: read its chips, ask the model, judge the units."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import compress, islice

import numpy as np
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.calibration import probabilities
from damagenet.devices import crew_of
from damagenet.engine.dense import Dense, Measured
from damagenet.engine.judging import ChipLooks, Judge, owners
from damagenet.engine.prefetch import prefetched
from damagenet.engine.seen_chips import Sight
from damagenet.engine.work import Work, record_table
from damagenet.inference import Predictor
from damagenet.labels import Kind
from data_prep.exclusion import Exclusion
from data_prep.pairing import Pictures, RawPictures
from data_prep.windows import Unit

CUTTERS = 2
"""Threads that cut chips out of what one thread reads: resampling takes longer than decoding."""


MOST_RAW_BYTES = 96 * 2**20
"""Of the pixels and masks that a batch of chips is cut from; some batches are held at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceMaker:
    """All that the pieces of one scene are made with; a table depends on nothing else.

    Attributes:
        pictures: The open scene, with the picture before it for models that compare.
        work: Its units in pieces.
        judge: The rules of its verdicts.
        predictor: The model, on its device.
        exclusion: Ground that is hidden. The network sees it like any other; its pixels only
            count as not usable.
        check_clouds: True where ground behind cloud, thick haze or too much light counts likewise.
    """

    pictures: Pictures
    work: Work
    judge: Judge
    predictor: Predictor
    exclusion: Exclusion | None
    check_clouds: bool
    measured: Measured | None = None
    """Of cells much finer than the chip: how they are looked at together, if they are."""

    @property
    def dense(self) -> Dense | None:
        """How all windows of a piece are looked at together; None where chips are, in batches."""
        return None if self.measured is None else self.measured.dense

    @property
    def sight(self) -> Sight:
        """What chips are cut from, and what hides their ground."""
        return Sight(
            pictures=self.pictures, exclusion=self.exclusion, check_clouds=self.check_clouds
        )

    def table(self, piece: int) -> GeoDataFrame:
        """Return the records of one piece as the table of its part."""
        with closing(self.tables([piece])) as tables:
            return next(tables)

    def tables(self, pieces: Sequence[int]) -> Generator[GeoDataFrame]:
        """Yield the records of pieces, in order, as the tables of their parts.

        Grid cells without a valid pixel are left out; every building has a row. Reading and asking
        the model run ahead into the next piece, but batches never cross pieces, so that a piece is
        the same wherever and after whatever it is made.
        """
        begun: dict[int, Sequence[Unit]] = {}

        def units_of(piece: int) -> Sequence[Unit]:
            if piece not in begun:
                begun[piece] = self.work.units(piece)
            return begun[piece]

        windows = (_windows(units_of(piece)) for piece in pieces)
        requests = (batch for some in windows for batch in self._batches(some))
        with self._looks(requests) as looks:
            for piece in pieces:
                units = units_of(piece)
                count = len(self._batches(_windows(units)))
                seen = [ChipLooks.nothing(), *islice(looks, count)]
                yield self._judged(units, ChipLooks.joined(seen))
                del begun[piece]

    def _batches(self, windows: Sequence[Window]) -> list[Sequence[Window]]:
        """Cut the windows of a piece into what is looked at together: all, for a dense map.

        Of a drone's picture, whose chips are many pixels before they are resampled, they are few.
        """
        size = self.predictor.batch_size if self.dense is None else max(1, len(windows))
        if self.dense is None and windows:
            raw = 4 * windows[0].width * windows[0].height
            size = max(1, min(size, int(MOST_RAW_BYTES / raw)))
        return [windows[start : start + size] for start in range(0, len(windows), size)]

    @contextmanager
    def _looks(self, requests: Iterable[Sequence[Window]]) -> Iterator[Iterator[ChipLooks]]:
        """Yield what is seen in each batch: one thread reads, others cut, a crew asks the model.

        Each stage holds so many batches and no more, and waits for the next one to take them. Of
        a dense map one thread reads and cuts the ground of a piece.
        """
        with crew_of(self.predictor.device) as crew, ExitStack() as ends:
            workers, prepare = crew.workers, crew.prepare
            if self.dense is None:
                raw = prefetched(self._read_raw, requests, ahead=1 + CUTTERS)
                ends.enter_context(closing(raw))
                reads = prefetched(self._cut, raw, ahead=1 + CUTTERS, workers=CUTTERS)
                ends.enter_context(closing(reads))
                # While a piece is judged and written, nobody hands out new batches.
                ahead = 4 * workers
                looks = prefetched(self._look, reads, ahead=ahead, workers=workers, prepare=prepare)
            else:
                blocks = prefetched(self.dense.read, requests, ahead=1)
                ends.enter_context(closing(blocks))
                looks = prefetched(
                    self.dense.look, blocks, ahead=workers, workers=workers, prepare=prepare
                )
            yield ends.enter_context(closing(looks))

    def _judged(self, units: Sequence[Unit], looks: ChipLooks) -> GeoDataFrame:
        if self.work.kind is Kind.CELL:
            owner = owners(units)
            shown = np.bincount(owner, weights=looks.shown, minlength=len(units)) > 0
            units, looks = list(compress(units, shown)), looks.only(shown[owner])
        records = self.judge.records(units, looks)
        return record_table(records, [unit.row for unit in units], self.work.places(units))

    def _look(self, read: "ReadBatch") -> ChipLooks:
        """Ask the model about one batch; runs in a thread of the crew."""
        probability, distance = np.full((2, len(read.judged)), np.nan)
        if read.judged.any():
            logits, distance[read.judged] = self.predictor.logits_and_distances(read.images)
            probability[read.judged] = probabilities(logits, self.judge.calibration)
        return ChipLooks(
            shown=read.shown,
            imagery=read.imagery,
            usable=read.usable,
            probability=probability,
            distance=distance,
        )

    def read(self, windows: Sequence[Window]) -> "ReadBatch":
        """Return one batch as the model takes it, with what is to be judged of it."""
        return self._cut(self._read_raw(windows))

    def _read_raw(self, windows: Sequence[Window]) -> "RawBatch":
        """Read one batch; all of a scene's run in one thread, to which its file belongs."""
        size_px = self.predictor.bundle.card.chip.size_px
        return RawBatch(windows=windows, pixels=self.pictures.read_raw(windows, size_px=size_px))

    def _cut(self, raw: "RawBatch") -> "ReadBatch":
        """Make chips of what was read, and sort out which to judge; runs in any thread."""
        chips = raw.pixels.cut()
        usable = self.sight.usable(chips, raw.windows)
        imagery = _shares(chips.valid)
        shown = imagery if chips.scene_valid is None else _shares(chips.scene_valid)
        shares = imagery if usable is chips.valid else _shares(usable)
        judged = self.judge.enough(shares)
        images = chips.images if judged.all() else tuple(image[judged] for image in chips.images)
        return ReadBatch(images=images, judged=judged, shown=shown, imagery=imagery, usable=shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """One batch as the reading thread leaves it: the pixels that N windows are cut out of."""

    windows: Sequence[Window]
    pixels: RawPictures


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """One batch as the model takes it: N windows, of which M are to be judged."""

    images: tuple[NDArray[np.uint8], ...]  # each (M, 3, S, S)
    judged: NDArray[np.bool_]  # (N,)
    shown: NDArray[np.float64]  # (N,)
    imagery: NDArray[np.float64]  # (N,)
    usable: NDArray[np.float64]  # (N,)


def _windows(units: Sequence[Unit]) -> list[Window]:
    return [window for unit in units for window in unit.windows]


def _shares(pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of pixels that are true in each of N chips, float64 (N,)."""
    # Mostly all are, and to see that takes a tenth of the time of counting.
    return np.ones(len(pixels)) if pixels.all() else np.asarray(pixels.mean(axis=(1, 2)))
