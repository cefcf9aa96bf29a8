"""What a chip covers in pixels, the units that get a verdict, and the grid of cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isnan

import numpy as np
import shapely
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from damagenet.card import ChipGround
from damagenet.errors import ConfigError, SceneError
from damagenet.labels import Kind
from data_prep.scene import Scene

WHOLE_TOLERANCE = 0.03
"""A scene's pixel this near training's (as a share, on both axes) is used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipSize:
    """Extent of one chip in pixels of the scene."""

    width_px: float
    height_px: float
    whole: bool
    """True where chips are whole pixels, read without resampling."""

    def around(self, col: float, row: float) -> Window:
        """Return the window centred on a point, in pixel coordinates of the scene.

        Whole windows begin where a training tile of the same centre begins: half a chip before the
        point, rounded down (`data.md`, Geometry; the small number is the one given there).
        """
        left, top = col - self.width_px / 2, row - self.height_px / 2
        if self.whole:
            left, top = float((left + 0.001) // 1), float((top + 0.001) // 1)
        return Window(left, top, self.width_px, self.height_px)


def chip_size(pixel_m: tuple[float, float], ground: ChipGround) -> ChipSize:
    """Return how many pixels of a scene cover the chip's ground.

    Args:
        pixel_m: Ground sampling of the scene in metres, east-west and north-south.
        ground: The ground a chip covers, and its pixels.
    """
    width_px, height_px = ground.width_m / pixel_m[0], ground.height_m / pixel_m[1]
    size = ground.size_px
    if all(abs(size / px - 1) <= WHOLE_TOLERANCE for px in (width_px, height_px)):
        return ChipSize(width_px=float(size), height_px=float(size), whole=True)
    return ChipSize(width_px=width_px, height_px=height_px, whole=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What gets one verdict: a building, or a cell of a grid."""

    row: int
    """Row number in the buildings file, or number of the cell, row by row."""
    unit_id: str
    kind: Kind
    windows: tuple[Window, ...]
    """Where its chips lie in the scene, in pixels; empty for a building without a place."""
    lon: float | None
    """Longitude of its centre in degrees (WGS 84); None in a scene without a CRS."""
    lat: float | None


def check_stride(stride_m: float, ground: ChipGround) -> None:
    """Check that cells of this side in metres leave no ground between the chips.

    Raises:
        ConfigError: If they do, or have no side at all.
    """
    limit_m = min(ground.width_m, ground.height_m)
    if not 0 < stride_m <= limit_m:
        raise ConfigError(
            f"stride must be above 0 and at most {limit_m:g} m, the chip's shorter side, "
            f"or ground between the chips would go unseen; got {stride_m:g}"
        )


MAX_CELLS = 500_000_000
"""Cells of one grid at most: 100 x 100 km in steps of 5 m fit, a world map does not."""
PIECE_COLUMNS = 64
"""Columns of cells in one piece of a grid; its rows follow from the windows it may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPiece:
    """A block of cells: rows and columns from the first to before the last."""

    number: int
    first_row: int
    last_row: int
    first_column: int
    last_column: int

    @property
    def count(self) -> int:
        """Number of cells."""
        return (self.last_row - self.first_row) * (self.last_column - self.first_column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A scene cut into equal cells, row by row from the north-west corner.

    Nothing is held per cell, so a grid may have any number of them.
    """

    scene: Scene
    chip: ChipSize
    rows: int
    columns: int
    cell_width_px: float
    cell_height_px: float

    @classmethod
    def over(cls, scene: Scene, ground: ChipGround, stride_m: float | None = None) -> "Grid":
        """Cover a scene with cells; the last of a row or column may reach past the edge.

        Args:
            scene: The scene.
            ground: The ground of one chip.
            stride_m: Side of a square cell in metres, with the chip centred on it; None makes
                the cell the chip.

        Raises:
            ConfigError: If the stride is longer than the chip, which would leave gaps.
            SceneError: If there would be more than `MAX_CELLS` cells.
        """
        chip = chip_size(scene.pixel_m, ground)
        width, height = _cell_size(scene, chip, ground, stride_m)
        rows, columns = _cells(scene.height, height), _cells(scene.width, width)
        if rows * columns > MAX_CELLS:
            raise SceneError(
                f"{scene.path} would be cut into {rows * columns:,} cells, more than "
                f"{MAX_CELLS:,}: check its ground sampling ({scene.sampling_m:.3g} m) or raise "
                "the stride"
            )
        return cls(
            scene=scene,
            chip=chip,
            rows=rows,
            columns=columns,
            cell_width_px=width,
            cell_height_px=height,
        )

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    def pieces(self, max_windows: int = 512, *, across: int | None = None) -> list[GridPiece]:
        """Cut the grid into blocks of at most `max_windows` cells, the same for the same grid.

        Args:
            max_windows: Cells of a block at most.
            across: Columns of a block at most; None takes what suits the file.
        """
        # A file of whole rows would decode them anew for every piece beside another.
        widest = max_windows if self.scene.row_wise else PIECE_COLUMNS
        across = min(across or widest, max_windows, self.columns)
        down = max(1, max_windows // across)
        corners = [
            (row, column)
            for row in range(0, self.rows, down)
            for column in range(0, self.columns, across)
        ]
        return [
            GridPiece(
                number=number,
                first_row=row,
                last_row=min(row + down, self.rows),
                first_column=column,
                last_column=min(column + across, self.columns),
            )
            for number, (row, column) in enumerate(corners)
        ]

    def surely_empty(self, piece: GridPiece, *, size_px: int) -> bool:
        """Return whether the file stores nothing under a piece; False where it does not say."""
        first = self._window(piece.first_row, piece.first_column)
        last = self._window(piece.last_row - 1, piece.last_column - 1)
        return self.scene.surely_empty(first, last, size_px=size_px)

    def _window(self, row: int, column: int) -> Window:
        return self.chip.around(
            (column + 0.5) * self.cell_width_px, (row + 0.5) * self.cell_height_px
        )

    def units(self, piece: GridPiece) -> list[Unit]:
        """Return the cells of a piece, row by row."""
        rows, columns = (
            axis.ravel()
            for axis in np.mgrid[
                piece.first_row : piece.last_row, piece.first_column : piece.last_column
            ]
        )
        cols_px = (columns + 0.5) * self.cell_width_px
        rows_px = (rows + 0.5) * self.cell_height_px
        lons, lats = self.scene.lonlat(cols_px, rows_px)
        values = (axis.tolist() for axis in (rows, columns, cols_px, rows_px, lons, lats))
        return [
            Unit(
                row=row * self.columns + column,
                unit_id=f"r{row:04d}c{column:04d}",
                kind=Kind.CELL,
                windows=(self.chip.around(col_px, row_px),),
                lon=None if isnan(lon) else lon,
                lat=None if isnan(lat) else lat,
            )
            for row, column, col_px, row_px, lon, lat in zip(*values, strict=True)
        ]

    def polygons(self, units: Sequence[Unit]) -> list[BaseGeometry]:
        """Return the cells of these units as boxes in the scene's CRS, whole also at the edge."""
        numbers = np.array([unit.row for unit in units], dtype=np.int64)
        rows, columns = numbers // self.columns, numbers % self.columns
        grid = self.scene.transform
        west = grid.c + grid.a * columns * self.cell_width_px
        east = grid.c + grid.a * (columns + 1) * self.cell_width_px
        north = grid.f + grid.e * rows * self.cell_height_px
        south = grid.f + grid.e * (rows + 1) * self.cell_height_px
        return list(shapely.box(west, south, east, north))


def _cell_size(
    scene: Scene, chip: ChipSize, ground: ChipGround, stride_m: float | None
) -> tuple[float, float]:
    if stride_m is None:
        return chip.width_px, chip.height_px
    check_stride(stride_m, ground)
    width, height = stride_m / scene.pixel_m[0], stride_m / scene.pixel_m[1]
    if chip.whole:
        return float(max(1, round(width))), float(max(1, round(height)))
    return width, height


def _cells(length_px: int, cell_px: float) -> int:
    return max(1, ceil(length_px / cell_px - 1e-9))
