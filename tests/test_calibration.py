"""Calibration, threshold and band of doubt, on predictions whose answer is known."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from damagenet.calibration import (
    balanced_threshold,
    even_threshold,
    fit_calibration,
    probabilities,
    uncertain_band,
)
from damagenet.card import Calibration
from damagenet.errors import EvaluationError


def drawn(temperature, bias, count=20_000, seed=0):
    """Return logits, and labels drawn with `sigmoid(logit / temperature + bias)`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, count)
    p = probabilities(logits, Calibration(temperature=temperature, bias=bias))
    return logits, (rng.random(count) < p).astype(int)


def predictions():
    pair = st.tuples(st.integers(1, 999).map(lambda value: value / 1000), st.integers(0, 1))
    both = st.lists(pair, min_size=4, max_size=60)
    return both.filter(lambda pairs: {label for _, label in pairs} == {0, 1}).map(
        lambda pairs: tuple(np.array(side) for side in zip(*pairs, strict=True))
    )


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.5, -0.7), (0.5, 1.2)])
def test_the_fit_finds_the_temperature_and_bias_that_made_the_labels(temperature, bias):
    found = fit_calibration(*drawn(temperature, bias), fitted_on="made labels")
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.bias == pytest.approx(bias, abs=0.06)
    assert found.fitted_on == "made labels"


def test_the_fit_does_not_change_with_the_scale_of_the_logits():
    logits, labels = drawn(1.0, 0.3)
    p = probabilities(logits, fit_calibration(logits, labels))
    scaled = probabilities(10 * logits, fit_calibration(10 * logits, labels))
    assert scaled == pytest.approx(p, abs=1e-4)


def test_perfectly_separated_tiles_give_a_finite_temperature():
    logits = np.array([-2.0, -1.0, 1.0, 2.0])
    found = fit_calibration(logits, np.array([0, 0, 1, 1]))
    assert np.exp(-3) <= found.temperature < 0.06
    assert np.isfinite(probabilities(logits, found)).all()


@pytest.mark.filterwarnings("error")
def test_extreme_logits_make_probabilities_without_overflow():
    p = probabilities(np.array([-1e6, 0.0, 1e6]), Calibration())
    assert p.tolist() == [0.0, 0.5, 1.0]


def test_the_threshold_separates_what_can_be_separated():
    p, labels = np.array([0.1, 0.2, 0.3, 0.9]), np.array([0, 0, 1, 1])
    assert balanced_threshold(p, labels) == pytest.approx(0.25)


@given(predictions())
@settings(max_examples=60, deadline=None)
def test_no_other_threshold_has_a_better_balanced_accuracy(pair):
    p, labels = pair

    def balanced(threshold):
        called = p >= threshold
        return (called[labels == 1].mean() + (~called[labels == 0]).mean()) / 2

    found = balanced_threshold(p, labels)
    assert 0 < found < 1
    assert balanced(found) >= max(balanced(value) for value in p) - 1e-12


def test_the_band_is_empty_where_the_verdicts_are_good_enough():
    p, labels = np.linspace(0.01, 0.99, 100), np.repeat([0, 1], 50)
    assert uncertain_band(p, labels, 0.5) == (0.5, 0.5)


@given(predictions(), st.floats(0.05, 0.95))
@example((np.array([0.001, 0.001, 0.002, 0.999]), np.array([0, 0, 1, 0])), 0.5)
@settings(max_examples=100, deadline=None)
def test_outside_the_band_errors_are_rare_and_inside_the_next_step_they_are_not(pair, threshold):
    p, labels = pair
    low, high = uncertain_band(p, labels, threshold)
    wrong = (p >= threshold) != (labels == 1)
    outside = (p <= low) | (p >= high)
    assert low <= threshold <= high
    assert wrong[outside].sum() <= 0.02 * outside.sum()

    def logit(value):
        return np.log(value / (1 - value))

    # As many digits as tell two distances apart from two roundings of one.
    distance = np.round(np.abs(logit(p) - logit(threshold)), 9)
    for half in distance[~outside]:
        wider = distance >= half
        assert wrong[wider].sum() > 0.02 * wider.sum()


def test_the_band_is_symmetric_in_the_logit():
    rng = np.random.default_rng(0)
    p = rng.random(2_000)
    labels = (rng.random(2_000) < p).astype(int)
    low, high = uncertain_band(p, labels, 0.3)
    assert 0 < low < 0.3 < high < 1
    centre = np.log(0.3 / 0.7)
    assert centre - np.log(low / (1 - low)) == pytest.approx(np.log(high / (1 - high)) - centre)


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        ([0.1, 0.2], [1], r"two equally long rows, got \(2,\) and \(1,\)"),
        ([np.nan, 0.2], [0, 1], "not finite: the network diverged"),
        ([0.1, 0.2], [1, 1], "needs tiles of both classes"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(values, labels, message):
    for judge in (fit_calibration, balanced_threshold, lambda p, y: uncertain_band(p, y, 0.5)):
        with pytest.raises(EvaluationError, match=message):
            judge(np.array(values), np.array(labels))


@given(st.floats(-1.5, 1.5), st.floats(0.05, 0.95), st.integers(0, 5))
@settings(deadline=None, max_examples=10)
def test_the_even_threshold_is_where_both_classes_are_as_likely(middle, share, seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random(20_000) < share).astype(np.int64)
    # Two normal distributions of one width: they cross in the middle between them.
    logits = rng.normal(np.where(labels, middle + 1, middle - 1), 1.0)
    calibration = Calibration(temperature=2.0, bias=0.3)
    expected = probabilities(np.array([middle]), calibration)[0]
    assert even_threshold(logits, labels, calibration) == pytest.approx(expected, abs=0.03)


def test_the_even_threshold_of_a_few_labels_stays_near_the_network_s_own():
    logits, labels = np.array([3.0, 3.2, 3.4, 3.6]), np.array([0, 1, 0, 1])
    calibration = Calibration(temperature=1.0, bias=0.0)
    cut = even_threshold(logits, labels, calibration)
    assert 0.5 < cut < probabilities(np.array([3.3]), calibration)[0]
