"""Dense maps of a grid that is finer than the chip: one pass over the ground for many windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.assessment import DenseInfo
from damagenet.calibration import probabilities
from damagenet.card import ChipGround
from damagenet.engine.ground_block import GroundBlock, WindowGrid, read_block
from damagenet.engine.judging import ChipLooks, Judge
from damagenet.engine.seen_chips import Sight
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.windows import Grid
from models.dense import DenseTrunk, pooled

LEAST_OVERLAP = 2.0
"""Chips ask for this many times the ground of a scene before a dense map is made instead."""
FEWEST_CELLS = 1_000
"""A grid of fewer cells is asked chip by chip: that takes seconds, and leaves none to measure."""
BLOCK_PX = 2560
"""Side of the ground of one piece in pixels of chips: the halo around it is small beside that."""
MOST_ACROSS = 128
"""Cells on each side of a piece at most."""


def overlap(cells: Grid) -> float:
    """Return how many chips see a place of ground, on average."""
    chip = cells.chip
    return chip.width_px * chip.height_px / (cells.cell_width_px * cells.cell_height_px)


def wants_dense(cells: Grid, options: AssessOptions) -> bool:
    """Return whether a dense map would pay for these cells, and is not ruled out."""
    pays = overlap(cells) >= LEAST_OVERLAP and cells.count >= FEWEST_CELLS
    return options.dense == "auto" and pays


def piece_shape(cells: Grid, ground: ChipGround) -> tuple[int, int]:
    """Return rows and columns of the cells of one dense piece."""
    size = ground.size_px
    sides = (
        cells.cell_height_px * size / cells.chip.height_px,
        cells.cell_width_px * size / cells.chip.width_px,
    )
    rows, columns = (min(MOST_ACROSS, max(1, round(BLOCK_PX / side))) for side in sides)
    return rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Makes features of chips by themselves out of pooled ones: what the rim does to a chip.

    Attributes:
        weights: float32 (P, F); what is added is linear in the P pooled means.
        shift: float32 (F,)
    """

    weights: NDArray[np.float32]
    shift: NDArray[np.float32]

    def __call__(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features (N, F) of pooled means (N, P), of which the first F are of all."""
        return np.asarray(means[:, : len(self.shift)] + means @ self.weights + self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """How the windows of a grid are looked at together.

    Attributes:
        sight: What is read.
        trunk: Of the predictor's network.
        predictor: The model, on its device.
        judge: The rules of its verdicts.
        correction: Of pooled means.
    """

    sight: Sight
    trunk: DenseTrunk
    predictor: Predictor
    judge: Judge
    correction: Correction

    def read(self, windows: Sequence[Window]) -> "WindowsRead":
        """Read the ground of windows that make rows and columns, given row by row."""
        return read_windows(self.sight, windows, self.trunk, self.predictor)

    def look(self, read: "WindowsRead") -> ChipLooks:
        """Ask the model about windows; runs in a thread of the crew."""
        grid, block = read.grid, read.block
        shown, imagery, usable = (
            grid.shares(mask, block.box).ravel()
            for mask in (block.shown, block.imagery, block.usable)
        )
        probability, distance = np.full((2, len(usable)), np.nan)
        judged = self.judge.enough(usable)
        if judged.any():
            features = self.correction(window_means(read, judged, self.trunk, self.predictor))
            logits = self.predictor.head_logits(features)
            probability[judged] = probabilities(logits, self.judge.calibration)
            distance[judged] = self.predictor.distances(features)
        return ChipLooks(
            shown=shown,
            imagery=imagery,
            usable=usable,
            probability=probability,
            distance=distance,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a sample of a scene's windows, asked in both ways.

    Attributes:
        dense: How the windows are looked at; None where every chip is to be asked by itself.
        info: What the assessment keeps of it.
        sentence: What must be said of it.
    """

    dense: Dense | None
    info: DenseInfo
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsRead:
    """Windows in rows and columns, and a block that holds them with the trunk's halo."""

    grid: WindowGrid
    block: GroundBlock


def read_windows(
    sight: Sight, windows: Sequence[Window], trunk: DenseTrunk, predictor: Predictor
) -> WindowsRead:
    """Read the ground of windows that make rows and columns, given row by row."""
    side = predictor.bundle.card.chip.size_px
    grid = WindowGrid.of(windows, side)
    box = grid.box(trunk.halo_px, trunk.stride_px)
    return WindowsRead(grid=grid, block=read_block(sight, box, windows[0], side))


def window_means(
    read: WindowsRead, wanted: NDArray[np.bool_], trunk: DenseTrunk, predictor: Predictor
) -> NDArray[np.float32]:
    """Return the pooled means of the wanted windows, float32 (M, P).

    The trunk runs over what they need alone.

    Args:
        read: N windows.
        wanted: bool (N,), M of them true.
        trunk: Of the predictor's network.
        predictor: Says on which device.
    """
    grid = read.grid
    table = wanted.reshape(len(grid.tops), len(grid.lefts))
    rows, columns = _around(table, axis=1), _around(table, axis=0)
    part = grid.only(rows, columns)
    box = part.box(trunk.halo_px, trunk.stride_px)
    down, across = box.within(read.block.box)
    step = trunk.stride_px
    with torch.inference_mode():
        images = [
            torch.from_numpy(image[None, :, down, across]).to(predictor.device)
            for image in read.block.images
        ]
        means = pooled(
            trunk.maps(images),
            tops=[(top - box.top) / step for top in part.tops],
            lefts=[(left - box.left) / step for left in part.lefts],
            side=part.side / step,
        )
        found: NDArray[np.float32] = means.float().cpu().numpy()[table[rows, columns]]
    return found


def _around(wanted: NDArray[np.bool_], *, axis: int) -> slice:
    """Return from where to where any is wanted, along the other axis."""
    places = np.flatnonzero(wanted.any(axis=axis))
    return slice(int(places[0]), int(places[-1]) + 1)
