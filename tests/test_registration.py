"""The shift between two pictures is found to a fraction of a pixel, or not at all."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter, shift

from data_prep.alignment import estimate_shift
from data_prep.overlap import find_overlap
from data_prep.pairing import Pictures, open_pre
from data_prep.registration import BLOCK_PX, REACH_PX, find_shift
from data_prep.scene import Scene, SceneOptions

SIDE = 320
PAIRS = [
    *(f"xbd/hurricane-harvey_{number:08d}" for number in (3, 11, 78, 127)),
    *(f"scenes/houston_{number:02d}" for number in (0, 1, 2)),
]
LIES_OFF = {
    "xbd/hurricane-harvey_00000003": (4.6, -3.7),
    "xbd/hurricane-harvey_00000011": (5.2, -3.2),
    "xbd/hurricane-harvey_00000078": (4.5, -4.3),
    "xbd/hurricane-harvey_00000127": (-1.9, 1.3),
    "scenes/houston_00": (0.4, -3.6),
    "scenes/houston_01": (0.4, -3.1),
    "scenes/houston_02": (0.9, -3.8),
}
"""Metres east and north, as measured when this was written."""


@lru_cache
def ground(seed=0, side=SIDE + 2 * REACH_PX):
    """Return a picture with structure of all sizes, float (3, side, side)."""
    noise = np.random.default_rng(seed).normal(size=(3, side, side))
    layers = [gaussian_filter(noise, (0, size, size)) * size for size in (1, 3, 9)]
    picture = np.sum(layers, axis=0)
    return np.clip(128 + 40 * picture / picture.std(), 0, 255)


def cut(picture, *, right=0.0, down=0.0):
    """Return the middle of a picture whose content is moved to the right and down, uint8."""
    middle = slice(REACH_PX, REACH_PX + SIDE)
    # Band by band: a spline over three axes asks four times as many neighbours.
    moved = [shift(band, (down, right), order=3, mode="nearest") for band in picture]
    return np.clip(np.rint(np.stack(moved)[:, middle, middle]), 0, 255).astype(np.uint8)


def found(first, second, valid=None):
    valid = np.ones((1, SIDE, SIDE), bool) if valid is None else valid[None]
    return find_shift(first[None], second[None], valid)


moves = st.floats(-40, 40, allow_nan=False)


@settings(max_examples=12, deadline=None)
@given(right=moves, down=moves, seed=st.integers(0, 3))
def test_a_shift_is_found_within_half_a_pixel(right, down, seed):
    picture = ground(seed)
    shifted = found(cut(picture), cut(picture, right=right, down=down))
    assert shifted.found
    assert (shifted.right, shifted.down) == pytest.approx((right, down), abs=0.5)


@settings(max_examples=6, deadline=None)
@given(right=moves, down=moves)
def test_the_way_back_is_the_opposite(right, down):
    here, there = cut(ground()), cut(ground(), right=right, down=down)
    forth, back = found(here, there), found(there, here)
    assert (back.right, back.down) == pytest.approx((-forth.right, -forth.down), abs=0.1)


def test_dark_that_became_bright_still_matches():
    picture = ground()
    flooded = 255 - cut(picture, right=5, down=-7)
    shifted = found(cut(picture), flooded)
    assert shifted.found
    assert (shifted.right, shifted.down) == pytest.approx((5, -7), abs=0.3)


def test_holes_at_the_same_place_do_not_pin_the_shift_to_zero():
    # As in pictures put together from tiles: many holes, and ground that has changed a lot.
    picture, random = ground(), np.random.default_rng(2)
    valid = np.ones((SIDE, SIDE), bool)
    for row, col in random.integers(0, SIDE - 24, (45, 2)):
        valid[row : row + 24, col : col + 24] = False
    changed = 0.35 * picture + 0.65 * ground(seed=3)
    shifted = found(cut(picture) * valid, cut(changed, right=6, down=4) * valid, valid)
    assert shifted.found
    assert (shifted.right, shifted.down) == pytest.approx((6, 4), abs=0.5)


@pytest.mark.parametrize("seed", range(4))
def test_other_ground_is_not_matched(seed):
    assert not found(cut(ground(seed)), cut(ground(seed + 10))).found


def test_a_block_that_is_alone_must_match_clearly():
    picture, side = ground(), BLOCK_PX
    valid = np.ones((1, side, side), bool)
    first, second = (
        cut(picture)[None, :, :side, :side],
        cut(picture, right=4)[None, :, :side, :side],
    )
    alone = find_shift(first, second, valid)
    assert (alone.found, alone.blocks, alone.agreed) == (True, 1, 1)
    assert alone.right == pytest.approx(4, abs=0.3)
    stranger = cut(ground(9))[None, :, :side, :side]
    assert not find_shift(first, stranger, valid).found


@pytest.mark.parametrize("value", [0, 120, 255])
def test_flat_pictures_say_nothing(value):
    flat = np.full((3, SIDE, SIDE), value, np.uint8)
    assert found(flat, flat).blocks == 0
    assert not found(cut(ground()), flat).found


def test_ground_that_is_mostly_missing_says_nothing():
    picture, valid = ground(), np.zeros((SIDE, SIDE), bool)
    valid[:, :40] = True
    assert found(cut(picture), cut(picture, right=3), valid).blocks == 0


# ---- on real scenes


def pair_of(folder, name):
    endings = ("_post_disaster", "_pre_disaster") if name.startswith("xbd") else ("_post", "_pre")
    return tuple(folder / f"{name}{ending}.tif" for ending in endings)


@pytest.mark.parametrize("name", PAIRS)
def test_real_pictures_of_two_dates_are_matched_and_then_lie_on_each_other(harvey_data, name):
    post, pre = pair_of(harvey_data, name)
    with Scene.open(post) as scene:
        overlap = find_overlap(pre, scene)
        with open_pre(pre, scene, SceneOptions()) as before:
            first = estimate_shift(scene, before, overlap)
        assert first.corrected
        assert (first.east_m, first.north_m) == pytest.approx(LIES_OFF[name], abs=0.6)
        assert first.spread_m < 2
        with open_pre(pre, scene, SceneOptions(), shift=first) as before:
            left = second_look(scene, before, first, overlap)
        assert np.hypot(left.right, left.down) < 0.6


def second_look(scene, before, first, overlap):
    """Return what is left of a shift that was corrected, in pixels of about 0.9 m."""
    _, top, right, _ = overlap.box
    window = Window(right / 8, top + scene.height / 8, scene.width * 0.75, scene.height * 0.75)
    pictures = Pictures(scene=scene, pre=before, shift=first)
    chips = pictures.read_chips([window], size_px=int(scene.width * 0.75 * scene.pixel_m[0] / 0.9))
    return find_shift(*chips.images, chips.valid)


@settings(max_examples=5, deadline=None)
@given(across=st.floats(-10, 10), down=st.floats(-10, 10))
def test_a_known_shift_of_a_real_picture_is_found_within_half_a_pixel(harvey_data, across, down):
    # Pictures of two dates, the flooded one among them: what is added must come back.
    post, pre = pair_of(harvey_data, "xbd/hurricane-harvey_00000127")
    size, window = 448, Window(60, 60, 860, 860)
    moved = Window(window.col_off - across * 860 / size, 60 - down * 860 / size, 860, 860)
    with Scene.open(post) as after, Scene.open(pre) as before:
        here = after.read_chips([window], size_px=size)
        there = [before.read_chips([one], size_px=size) for one in (window, moved)]
    plain, shifted = (find_shift(here.images[0], one.images[0], here.valid) for one in there)
    assert plain.found
    assert shifted.found
    added = (shifted.right - plain.right, shifted.down - plain.down)
    assert added == pytest.approx((across, down), abs=0.5)


def test_real_pictures_of_other_ground_are_not_matched(harvey_data):
    chips = {}
    for name in PAIRS[:4]:
        for path in pair_of(harvey_data, name):
            with Scene.open(path) as scene:
                chips[path] = scene.read_chips([Window(0, 0, 1024, 1024)], size_px=448)
    strangers = [
        find_shift(one.images[0], other.images[0], one.valid & other.valid)
        for path, one in chips.items()
        for stranger, other in chips.items()
        if path.name[:26] < stranger.name[:26]
    ]
    assert len(strangers) == 24 == sum(not one.found for one in strangers)
