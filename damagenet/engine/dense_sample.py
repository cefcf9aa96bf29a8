"""What a dense map costs in truth: a sample of a scene's windows, asked in both ways.

The sample is cut from scene and options alone. From it is learned what a chip's rim does to its
features, and on parts of it that were left out is measured how far the probabilities lie from
those of chips by themselves. Where that is too far, every chip is asked by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.assessment import DenseInfo
from damagenet.calibration import probabilities
from damagenet.engine.dense import (
    Correction,
    Dense,
    Measured,
    read_windows,
    wants_dense,
    window_means,
)
from damagenet.engine.judging import Judge
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.work import CellWork
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.windows import Grid, GridPiece
from models.dense import DenseTrunk

LARGEST_DIFFERENCE = 0.02
"""Mean difference of probabilities up to which a dense map stands for chips by themselves."""
PATCHES = 16
"""Places that a sample is taken from."""
PATCH_SIDE = 4
"""Rows and columns of windows at one place, half a chip apart."""
FEWEST = 64
"""Windows that a sample must hold."""
TRIES = 1_024
"""Places that are looked at, as most of a scene may be empty."""
FOLDS = 8
"""Parts of a sample that are left out in turn; neighbouring windows stay together."""
RIDGE = 0.1
"""Weight of the penalty on a correction, as a share of the variance of all pooled means."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The windows of one place, asked in both ways.

    Attributes:
        means: Pooled means of the trunk, float64 (N, P).
        features: Of the same windows as chips, float64 (N, F).
    """

    means: Floats
    features: Floats


def looking_densely(maker: PieceMaker, options: AssessOptions) -> PieceMaker:
    """Return what makes pieces by a dense map, where the cells call for one and it comes near.

    Raises:
        SceneError: If the scene turns out to be damaged.
        FootprintError: If the excluded ground cannot be laid over it.
    """
    work = maker.work
    if not isinstance(work, CellWork) or not wants_dense(work.cells, options):
        return maker
    return replace(maker, measured=_measured(maker, work.cells))


def _measured(maker: PieceMaker, cells: Grid) -> Measured:
    trunk, runtime = maker.predictor.dense_trunk(), maker.predictor.runtime
    if runtime != "torch":
        return _refused(f"--runtime {runtime} knows whole chips alone", DenseInfo())
    if trunk is None:
        name = maker.predictor.bundle.card.model.architecture.name
        return _refused(f"overlapping windows cannot share what {name} makes of them", DenseInfo())
    patches = list(islice(_patches(cells, maker, trunk), PATCHES))
    windows = sum(len(patch.means) for patch in patches)
    if windows < FEWEST:
        why = f"only {windows} windows at {TRIES:,} places show enough to measure one on"
        return _refused(why, DenseInfo(windows=windows))
    info = _compared(patches, maker.predictor, maker.judge)
    if info.mean_difference is None or info.mean_difference > LARGEST_DIFFERENCE:
        most = f"more than {LARGEST_DIFFERENCE} on average is not taken"
        return _refused(f"{_said(info)}; {most}", info)
    info = info.model_copy(update={"used": True})
    return Measured(
        dense=_dense(maker, trunk, fitted(patches)), info=info, sentence=f"dense map: {_said(info)}"
    )


def with_correction(maker: PieceMaker, correction: Correction) -> PieceMaker:
    """Return what makes pieces by a dense map whose correction another process has found."""
    trunk = maker.predictor.dense_trunk()
    if trunk is None:
        return maker
    measured = Measured(
        dense=_dense(maker, trunk, correction), info=DenseInfo(used=True), sentence=""
    )
    return replace(maker, measured=measured)


def _dense(maker: PieceMaker, trunk: DenseTrunk, correction: Correction) -> Dense:
    return Dense(
        sight=maker.sight,
        trunk=trunk,
        predictor=maker.predictor,
        judge=maker.judge,
        correction=correction,
    )


def fitted(patches: list[Patch]) -> Correction:
    """Return the correction that makes the patches' features of their means, by ridge regression.

    It goes to a mere shift where there is little to learn from.
    """
    means = np.concatenate([patch.means for patch in patches])
    features = np.concatenate([patch.features for patch in patches])
    missing = features - means[:, : features.shape[1]]
    centre, shift = means.mean(axis=0), missing.mean(axis=0)
    scale = 1 / (means.std(axis=0) + 1e-6)
    varied = (means - centre) * scale
    # With fewer windows than means, the smaller system of the two has the same solution.
    kernel = varied @ varied.T
    kernel[np.diag_indices_from(kernel)] += RIDGE * varied.shape[1]
    weights = scale[:, None] * (varied.T @ np.linalg.solve(kernel, missing - shift))
    return Correction(
        weights=weights.astype(np.float32),
        shift=(shift - centre @ weights).astype(np.float32),
    )


def _compared(patches: list[Patch], predictor: Predictor, judge: Judge) -> DenseInfo:
    """Measure on each fold of the patches what is learned from the others."""
    difference: list[Floats] = []
    other_label: list[NDArray[np.bool_]] = []
    for fold in range(FOLDS):
        learned = [patch for number, patch in enumerate(patches) if number % FOLDS != fold]
        correction = fitted(learned)
        for patch in patches[fold::FOLDS]:
            dense, alone = (
                probabilities(predictor.head_logits(features), judge.calibration)
                for features in (
                    correction(patch.means.astype(np.float32)),
                    patch.features.astype(np.float32),
                )
            )
            difference.append(np.abs(dense - alone))
            other_label.append((dense >= judge.threshold) != (alone >= judge.threshold))
    found = np.concatenate(difference)
    return DenseInfo(
        windows=len(found),
        mean_difference=round(float(found.mean()), 4),
        largest_of_most=round(float(np.quantile(found, 0.99)), 4),
        other_labels=round(float(np.concatenate(other_label).mean()), 4),
    )


def _patches(cells: Grid, maker: PieceMaker, trunk: DenseTrunk) -> Iterator[Patch]:
    """Yield the places of a sample that show enough, spread evenly over the grid."""
    sight, predictor = maker.sight, maker.predictor
    for place in _places(cells):
        windows = _windows(cells, place)
        read = read_windows(sight, windows, trunk, predictor)
        judged = maker.judge.enough(read.grid.shares(read.block.usable, read.block.box).ravel())
        if judged.mean() < 0.5:
            continue
        chips, _ = sight.read(windows, size_px=read.grid.side)
        yield Patch(
            means=window_means(read, judged, trunk, predictor).astype(np.float64),
            features=predictor.embeddings(tuple(image[judged] for image in chips.images)).astype(
                np.float64
            ),
        )


def _places(cells: Grid) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of cells, evenly spread wherever one stops (Halton 1960)."""
    for number in range(1, TRIES + 1):
        yield int(_reversed(number, 2) * cells.rows), int(_reversed(number, 3) * cells.columns)


def _reversed(number: int, radix: int) -> float:
    """Return the number with its digits mirrored at the point, 0..1."""
    value, unit = 0.0, 1.0
    while number:
        unit /= radix
        number, digit = divmod(number, radix)
        value += digit * unit
    return value


def _windows(cells: Grid, place: tuple[int, int]) -> list[Window]:
    """Return windows of the grid around a place, row by row, half a chip apart."""
    step_rows = max(1, round(cells.chip.height_px / 2 / cells.cell_height_px))
    step_columns = max(1, round(cells.chip.width_px / 2 / cells.cell_width_px))
    rows = _run(place[0], step_rows, cells.rows)
    columns = _run(place[1], step_columns, cells.columns)
    return [
        cells.units(
            GridPiece(
                number=0,
                first_row=row,
                last_row=row + 1,
                first_column=column,
                last_column=column + 1,
            )
        )[0].windows[0]
        for row in rows
        for column in columns
    ]


def _run(around: int, step: int, count: int) -> range:
    """Return PATCH_SIDE numbers below `count`, or as many as there are, by steps."""
    length = min(PATCH_SIDE, -(-count // step))
    first = max(0, min(around, count - 1 - (length - 1) * step))
    return range(first, first + (length - 1) * step + 1, step)


def _refused(why: str, info: DenseInfo) -> Measured:
    said = f"no dense map was made, every chip was asked by itself: {why}"
    return Measured(dense=None, info=info, sentence=said)


def _said(info: DenseInfo) -> str:
    return (
        f"its probabilities differ from those of chips by themselves by {info.mean_difference:.3f} "
        f"on average, by {info.largest_of_most:.2f} in one of 100, and so do "
        f"{info.other_labels:.1%} of the labels (measured on {info.windows} windows of this scene)"
    )
