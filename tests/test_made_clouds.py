"""Made skies do what their formulas say, and the same each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.made_clouds import expose, fractal_field, make_clouds, make_haze

SHAPE = (96, 128)


def random(seed=0):
    return np.random.default_rng(seed)


def test_the_same_seed_makes_the_same_sky():
    first, second = (make_clouds(random(5), SHAPE, cover=0.5, depth=3) for _ in "ab")
    np.testing.assert_array_equal(first.transmission, second.transmission)
    np.testing.assert_array_equal(first.veil, second.veil)


@given(st.floats(0.05, 0.95), st.floats(0.2, 8), st.integers(0, 50))
def test_clouds_cover_the_share_that_was_asked_for(cover, depth, seed):
    sky = make_clouds(random(seed), SHAPE, cover=cover, depth=depth)
    assert (sky.transmission < 1).mean() == pytest.approx(cover, abs=0.02)
    assert sky.transmission.min() >= 0
    assert ((sky.light > 0.3) & (sky.light <= 1)).all()
    assert ((sky.veil >= 0) & (sky.veil <= 255)).all()


@given(st.floats(0.05, 0.95), st.integers(0, 50))
def test_haze_lets_through_what_was_asked_for_in_the_middle(transmission, seed):
    sky = make_haze(random(seed), SHAPE, transmission=transmission)
    assert np.median(sky.transmission) == pytest.approx(transmission, abs=0.01)


def test_a_veil_lowers_contrasts_by_the_transmission():
    ground = np.full((3, *SHAPE), 60, np.uint8)
    ground[:, :, 64:] = 160
    sky = make_haze(random(1), SHAPE, transmission=0.4)
    seen = sky.over(ground, random(2)).astype(float)
    expected = ground * sky.transmission + sky.veil * (1 - sky.transmission)
    assert np.abs(seen - expected).mean() < sky.noise
    step = seen[:, :, 64:72].mean() - seen[:, :, 56:64].mean()
    assert step == pytest.approx(100 * sky.transmission[:, 56:72].mean(), abs=2)


@pytest.mark.parametrize(("gain", "expected"), [(1, [10, 100, 200]), (2, [20, 200, 255])])
def test_exposure_multiplies_and_clips(gain, expected):
    assert expose(np.array([10, 100, 200], np.uint8), gain).tolist() == expected


def test_a_steeper_slope_makes_a_smoother_field():
    rough, smooth = (fractal_field(random(3), SHAPE, slope=slope) for slope in (1.2, 2.4))
    for field in (rough, smooth):
        assert field.mean() == pytest.approx(0, abs=1e-4)
        assert field.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(np.diff(smooth)).mean() < 0.5 * np.abs(np.diff(rough)).mean()
