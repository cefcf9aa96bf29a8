"""Chips in pixels, and the grid of cells."""

from dataclasses import dataclass

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from damagenet.card import ChipGround
from damagenet.errors import ConfigError, SceneError
from data_prep.windows import Grid, chip_size

GROUND = ChipGround()
GRID = Affine(2.0, 0, 1000, 0, -2.0, 9000)


@dataclass
class PaperScene:
    """The part of a scene that a grid looks at."""

    width: int
    height: int
    pixel_m: tuple[float, float] = (0.4347, 0.4977)
    transform: Affine = GRID
    path: str = "paper.tif"
    row_wise: bool = False

    @property
    def sampling_m(self) -> float:
        return max(self.pixel_m)

    def lonlat(self, cols, rows):
        return np.asarray(cols) / 1000, np.asarray(rows) / 1000


def all_units(grid):
    return [unit for piece in grid.pieces() for unit in grid.units(piece)]


def test_pixels_within_three_percent_make_whole_chips_and_others_do_not():
    near = chip_size((0.4347 * 1.029, 0.4977 * 0.972), GROUND)
    assert (near.whole, near.width_px, near.height_px) == (True, 128, 128)
    far = chip_size((0.467, 0.467), GROUND)
    assert not far.whole
    assert (far.width_px, far.height_px) == pytest.approx((119.14, 136.42), abs=0.01)


def test_a_whole_chip_begins_where_a_training_tile_of_that_centre_begins():
    chip = chip_size((0.4347, 0.4977), GROUND)
    window = chip.around(1520.4, 551.9995)
    # floor(column - 64 + 0.001), as in the tiles' own grid
    assert (window.col_off, window.row_off) == (1456, 488)


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([0.2, 0.4347, 0.9]))
def test_cells_cover_every_pixel_exactly_once(width, height, pixel):
    grid = Grid.over(PaperScene(width, height, (pixel, pixel * 1.145)), GROUND)
    assert grid.columns * grid.cell_width_px >= width - 1e-6
    assert (grid.columns - 1) * grid.cell_width_px < width
    assert grid.rows * grid.cell_height_px >= height - 1e-6
    assert (grid.rows - 1) * grid.cell_height_px < height
    units = all_units(grid)
    areas = shapely.area(np.array(grid.polygons(units)))
    union = shapely.union_all(grid.polygons(units)).area
    assert areas.sum() == pytest.approx(union)
    assert union == pytest.approx(grid.count * grid.cell_width_px * grid.cell_height_px * 4)


@settings(deadline=None)
@given(st.integers(1, 40_000), st.integers(1, 9000), st.sampled_from([1, 7, 64, 512]))
def test_the_pieces_hold_every_cell_once_and_no_more_than_allowed(width, height, limit):
    grid = Grid.over(PaperScene(width, height), GROUND)
    pieces = grid.pieces(limit)
    assert sum(piece.count for piece in pieces) == grid.count
    assert all(1 <= piece.count <= limit for piece in pieces)
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    some = [unit.row for piece in pieces[:40] for unit in grid.units(piece)]
    assert len(set(some)) == len(some)


def test_a_cell_is_numbered_named_and_placed_by_row_and_column():
    grid = Grid.over(PaperScene(400, 400), GROUND)
    unit = next(unit for unit in all_units(grid) if unit.unit_id == "r0001c0002")
    assert unit.row == grid.columns + 2
    window = unit.windows[0]
    assert (window.col_off, window.row_off, window.width, window.height) == (256, 128, 128, 128)
    assert (unit.lon, unit.lat) == pytest.approx((0.320, 0.192))
    assert grid.polygons([unit])[0].bounds == (1512, 8488, 1768, 8744)


def test_a_stride_makes_smaller_cells_with_the_chip_centred_on_each():
    grid = Grid.over(PaperScene(400, 400), GROUND, 20)
    assert (grid.cell_width_px, grid.cell_height_px) == (46, 40)
    window = all_units(grid)[0].windows[0]
    assert (window.col_off, window.row_off, window.width) == (23 - 64, 20 - 64, 128)


@pytest.mark.parametrize("stride", [55.7, 0, -3])
def test_a_stride_that_would_leave_gaps_is_refused(stride):
    with pytest.raises(ConfigError, match=r"at most 55\.64 m, the chip's shorter side"):
        Grid.over(PaperScene(400, 400), GROUND, stride)


def test_a_grid_over_a_vast_scene_is_cheap_and_over_a_world_map_refused():
    assert Grid.over(PaperScene(200_000, 200_000), GROUND).count == 1563**2
    with pytest.raises(SceneError, match=r"would be cut into .* cells, more than 500,000,000"):
        Grid.over(PaperScene(720, 360, (78_000, 78_000)), GROUND)
