"""The work on one scene: its units in pieces, cut from scene and options alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Literal

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from pyproj import CRS

from damagenet.assessment import DISTANCE_COLUMN, ROW_COLUMN, GridInfo
from damagenet.card import ChipGround
from damagenet.engine.dense import piece_shape, wants_dense
from damagenet.engine.judging import Columns
from damagenet.labels import Kind
from damagenet.options import AssessOptions
from damagenet.records import RECORD_FIELDS
from data_prep.footprints import Buildings, building_units
from data_prep.reading_order import ReadingOrder
from data_prep.scene import Scene
from data_prep.windows import Grid, GridPiece, Unit

MAX_WINDOWS = 512
"""Windows in a piece; a single unit with more is a piece of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellWork:
    """The cells of a grid over the scene, but for pieces under which the file stores nothing."""

    cells: Grid
    pieces: tuple[GridPiece, ...]
    crs: str | None
    grid: GridInfo
    dense: bool = False
    """Whether a dense map is tried."""
    kind: Kind = Kind.CELL
    geometry: Literal["point", "polygon"] = "polygon"
    attributes: tuple[str, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """Number of cells in each piece."""
        return [piece.count for piece in self.pieces]

    @property
    def count(self) -> int:
        """Number of cells, those in no piece included."""
        return self.cells.count

    def units(self, piece: int) -> Sequence[Unit]:
        """Return the cells of a piece, row by row."""
        return self.cells.units(self.pieces[piece])

    def places(self, units: Sequence[Unit]) -> GeoDataFrame:
        """Return the cells' rectangles in the scene's CRS."""
        return GeoDataFrame(geometry=self.cells.polygons(units), crs=_parsed(self.crs))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildingWork:
    """The buildings that touch the scene, in the caller's order."""

    frame: GeoDataFrame
    pieces: tuple[tuple[Unit, ...], ...]
    geometry: Literal["point", "polygon"]
    crs: str | None
    attributes: tuple[str, ...]
    kind: Kind = Kind.BUILDING
    grid: GridInfo | None = None
    dense: bool = False

    @property
    def sizes(self) -> list[int]:
        """Number of buildings in each piece."""
        return [len(piece) for piece in self.pieces]

    @property
    def count(self) -> int:
        """Number of buildings."""
        return sum(self.sizes)

    def units(self, piece: int) -> Sequence[Unit]:
        """Return the buildings of a piece."""
        return self.pieces[piece]

    def places(self, units: Sequence[Unit]) -> GeoDataFrame:
        """Return the caller's attributes and geometry of buildings."""
        return self.frame.loc[[unit.row for unit in units], [*self.attributes, "geometry"]]


Work = CellWork | BuildingWork
"""Units of one kind in pieces, and the geometry that their records carry."""


def plan_work(
    scene: Scene,
    ground: ChipGround,
    options: AssessOptions,
    buildings: Buildings | None,
    *,
    dense: bool = False,
) -> Work:
    """Cut the work on a scene into pieces: buildings where they are given, else grid cells.

    Args:
        scene: The open scene.
        ground: The ground of the model's chip.
        options: Of the assessment.
        buildings: Units to judge; without them, the cells of a grid.
        dense: Whether a dense map of cells is made where that pays: its pieces are larger.

    Raises:
        ConfigError: If the stride does not fit the model's chip.
        FootprintError: If the buildings cannot be placed in the scene.
    """
    if buildings is None:
        cells = Grid.over(scene, ground, options.stride)
        return _cell_work(cells, scene, ground, dense=dense and wants_dense(cells, options))
    touching = buildings.touching(scene)
    units = building_units(touching, scene, ground)
    return BuildingWork(
        frame=touching.frame,
        pieces=tuple(cut_pieces(units, MAX_WINDOWS)),
        geometry=touching.geometry,
        crs=wkt(touching.frame.crs),
        attributes=caller_columns(touching.frame),
    )


def by_place(work: Work, order: ReadingOrder) -> Work:
    """Return the same work in pieces that follow the ground; cells lie so from the start.

    Args:
        work: In the caller's order.
        order: How the scene's file wants to be read.
    """
    if not isinstance(work, BuildingWork) or not work.count:
        return work
    units = list(chain.from_iterable(work.pieces))
    first = [unit.windows[0] if unit.windows else None for unit in units]
    placed = [units[number] for number in order.places(first)]
    # The caller's attributes wait for the caller's order.
    return replace(work, pieces=tuple(cut_pieces(placed, MAX_WINDOWS)), attributes=())


def cut_pieces(units: Sequence[Unit], max_windows: int) -> list[tuple[Unit, ...]]:
    """Cut units into runs of at most this many windows; at least one run, which may be empty.

    A single unit with more windows is a run of its own.
    """
    pieces: list[tuple[Unit, ...]] = []
    run: list[Unit] = []
    windows = 0
    for unit in units:
        if run and windows + len(unit.windows) > max_windows:
            pieces.append(tuple(run))
            run, windows = [], 0
        run.append(unit)
        windows += len(unit.windows)
    if run or not pieces:
        pieces.append(tuple(run))
    return pieces


def caller_columns(frame: GeoDataFrame) -> tuple[str, ...]:
    """Return the names of the caller's own columns in a frame of buildings."""
    return tuple(name for name in frame.columns if name not in ("unit_id", "geometry"))


def record_table(columns: Columns, rows: Sequence[int], places: GeoDataFrame) -> GeoDataFrame:
    """Return the table of one part: `row`, RECORD_FIELDS, the caller's attributes, geometry.

    A column DISTANCE_COLUMN comes after the fields where a distance was measured.

    Args:
        columns: Records of N units.
        rows: The units' places in the caller's file or in the grid, N of them.
        places: Attributes and geometry of the same units, N rows.
    """
    distance = np.asarray(columns.get(DISTANCE_COLUMN, ()), np.float64)
    measured = () if np.isnan(distance).all() else (DISTANCE_COLUMN,)
    typed = {
        name: pd.Series(columns[name], dtype=COLUMN_TYPES.get(name, "str"))
        for name in (*RECORD_FIELDS, *measured)
    }
    own = pd.DataFrame({ROW_COLUMN: pd.Series(list(rows), dtype="int64"), **typed})
    joined = pd.concat([own, places.reset_index(drop=True)], axis=1)
    return GeoDataFrame(joined, geometry="geometry", crs=places.crs)


COLUMN_TYPES = {
    "p_damaged": "float64",
    "p_min": "float64",
    "lon": "float64",
    "lat": "float64",
    "valid_fraction": "float64",
    "ground_m": "float64",
    "chips": "int32",
    DISTANCE_COLUMN: "float64",
}
"""Types of a part's columns; the others are text."""


def wkt(crs: object) -> str | None:
    """Return a CRS of rasterio or pyproj as WKT; None stays None."""
    return None if crs is None else str(crs.to_wkt())  # type: ignore[attr-defined]  # both have it


@lru_cache(maxsize=8)
def _parsed(crs: str | None) -> CRS | None:
    """Return a CRS of WKT; every piece of a scene asks for the same."""
    return None if crs is None else CRS.from_user_input(crs)


def _cell_work(cells: Grid, scene: Scene, ground: ChipGround, *, dense: bool) -> CellWork:
    rows, columns = piece_shape(cells, ground) if dense else (1, None)
    pieces = cells.pieces(rows * columns if columns else MAX_WINDOWS, across=columns)
    return CellWork(
        cells=cells,
        pieces=tuple(
            piece for piece in pieces if not cells.surely_empty(piece, size_px=ground.size_px)
        ),
        dense=dense,
        crs=wkt(scene.crs),
        grid=GridInfo(
            rows=cells.rows,
            columns=cells.columns,
            cell_width_px=cells.cell_width_px,
            cell_height_px=cells.cell_height_px,
        ),
    )


def cut_sha256(work: Work) -> str:
    """Return a hash of how the work is cut: nothing goes on with the parts of another cut."""
    rows: list[tuple[int, ...]]
    if isinstance(work, CellWork):
        rows = [
            (one.first_row, one.last_row, one.first_column, one.last_column) for one in work.pieces
        ]
    else:
        rows = [(len(piece), *(unit.row for unit in piece)) for piece in work.pieces]
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
    return hashlib.sha256(flat.tobytes()).hexdigest()
