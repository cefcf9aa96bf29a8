"""Intervals of totals: exact where a formula is, within bounds always, and right often enough."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from damagenet.errors import EvaluationError
from damagenet.evaluation.intervals import binomial_interval
from damagenet.totals.error_rates import ErrorRates, Rate, adjusted_total, no_surprise
from damagenet.totals.intervals import damaged_among, effective
from damagenet.totals.likeness import chance_of_likeness


@st.composite
def strata(draw):
    """Units, labels and damaged labels of up to four strata."""
    units = draw(st.lists(st.integers(0, 400), min_size=1, max_size=4))
    labelled = [draw(st.integers(0, count)) for count in units]
    damaged = [draw(st.integers(0, count)) for count in labelled]
    return np.array(units), np.array(labelled), np.array(damaged)


@settings(max_examples=150, deadline=None)
@given(strata())
def test_an_interval_stays_within_the_rest_and_holds_its_estimate(counts):
    units, labelled, damaged = counts
    rest = units - labelled
    found = damaged_among(rest, labelled, damaged)
    assert 0 <= found.low[0] <= found.estimate[0] <= found.high[0] <= rest.sum()
    for ends in (found.low, found.high):
        assert ends == np.round(ends)


@settings(max_examples=60, deadline=None)
@given(strata())
def test_damaged_and_undamaged_may_change_places(counts):
    units, labelled, damaged = counts
    if not 4 <= effective_damaged(units, labelled, damaged) < 20:
        return  # The mid-P rule asks for more damaged than undamaged labels, by design.
    rest = units - labelled
    found = damaged_among(rest, labelled, damaged)
    other = damaged_among(rest, labelled, labelled - damaged)
    if effective_damaged(units, labelled, labelled - damaged) < 20:
        assert found.low[0] == pytest.approx(rest.sum() - other.high[0], abs=1)


def effective_damaged(units, labelled, damaged):
    weight = np.divide(units - labelled, labelled, out=np.zeros(len(units)), where=labelled > 0)
    return float(effective(weight[None], damaged[None])[0])


@pytest.mark.parametrize(
    ("units", "n", "x"), [(60, 20, 3), (300, 50, 0), (5000, 100, 7), (40, 30, 9)]
)
def test_one_stratum_with_few_damaged_is_the_exact_hypergeometric_interval(units, n, x):
    numbers = np.arange(units + 1)
    at_most, at_least = hypergeom.cdf(x, units, numbers, n), hypergeom.sf(x - 1, units, numbers, n)
    possible = numbers[(at_most > 0.025) & (at_least > 0.025)]
    found = damaged_among([units - n], [n], [x])
    assert found.low[0] + x == pytest.approx(possible[0], abs=1)
    assert found.high[0] + x == pytest.approx(possible[-1], abs=2)


def test_a_large_population_has_the_interval_of_clopper_and_pearson():
    exact = binomial_interval(5, 100)
    found = damaged_among([1_000_000], [100], [5])
    assert found.low[0] / 1e6 == pytest.approx(exact.low, rel=0.01)
    assert found.high[0] / 1e6 == pytest.approx(exact.high, rel=0.01)


def test_a_stratum_without_labels_may_be_all_or_nothing():
    alone = damaged_among([500, 0], [50, 0], [5, 0])
    beside = damaged_among([500, 40], [50, 0], [5, 0])
    assert (beside.low[0], beside.high[0]) == (alone.low[0], alone.high[0] + 40)
    nothing = damaged_among([12], [0], [0])
    assert (nothing.low[0], nothing.high[0]) == (0, 12)


def test_no_damaged_label_still_leaves_room_above():
    found = damaged_among([1000, 3000], [20, 60], [0, 0])
    assert (found.low[0], found.estimate[0]) == (0, 0)
    assert 150 < found.high[0] < 250  # about 3.7 labels, each for 50 units


def test_everything_labelled_leaves_nothing_open():
    found = damaged_among([0, 0], [10, 5], [3, 5])
    assert (found.low[0], found.estimate[0], found.high[0]) == (0, 0, 0)


def test_more_labels_make_it_narrower():
    widths = [
        float((found := damaged_among([20_000], [n], [n // 5])).high[0] - found.low[0])
        for n in (20, 50, 100, 200, 400)
    ]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("x", [-1, 6])
def test_impossible_counts_are_refused(x):
    with pytest.raises(EvaluationError, match="0 <= damaged <= labelled"):
        damaged_among([5], [5], [x])


MODELS = {"knows nothing": (1, 1, 1, 1), "good": (1, 0.02, 0.3, 0.2), "never": (1, 0, 0, 0)}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([30, 300, 3000, 20_000]),
    st.integers(20, 400),
    st.sampled_from([(1, 0, 0, 0), (0.5, 0.5, 0, 0), (0.25, 0.6, 0.1, 0.05), (0.3, 0.3, 0.1, 0.3)]),
    st.sampled_from(sorted(MODELS)),
    st.floats(0.001, 0.9),
)
def test_the_law_of_coverage(units, labels, mix, model, rate):
    """At least 93 % over 1,000 draws; three standard errors are left to chance."""
    rng = np.random.default_rng(0)
    sizes = np.floor(np.array(mix) * units).astype(int)
    sizes[0] += units - sizes.sum()
    damaged = np.round(sizes * rate * np.array(MODELS[model])).astype(int)
    n = rng.multivariate_hypergeometric(sizes, min(labels, units - 1), size=1000)
    x = rng.hypergeometric(damaged, sizes - damaged, n)
    found, truth = damaged_among(sizes - n, n, x), damaged.sum() - x.sum(axis=1)
    assert np.mean((found.low <= truth) & (truth <= found.high)) >= 0.93 - 3 * 0.0081
    assert (found.low >= 0).all()
    assert (found.high <= (sizes - n).sum(axis=1)).all()


@pytest.mark.parametrize("labels", [2, 3, 4, 7])
@pytest.mark.parametrize("share", [0.3, 0.45, 0.6])
def test_a_few_labels_of_large_strata_cover_as_promised(labels, share):
    rng = np.random.default_rng(0)
    sizes = np.array([600, 400])
    damaged = np.round(sizes * [share, share + 0.1]).astype(int)
    n = rng.multivariate_hypergeometric(sizes, labels, size=4000)
    x = rng.hypergeometric(damaged, sizes - damaged, n)
    found, truth = damaged_among(sizes - n, n, x), damaged.sum() - x.sum(axis=1)
    assert np.mean((found.low <= truth) & (truth <= found.high)) >= 0.93


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_one_label_of_each_verdict_covers_as_promised(share):
    rng = np.random.default_rng(0)
    sizes, n = np.array([100, 3000]), np.ones((4000, 2), int)
    damaged = np.round(sizes * [1 - share, share]).astype(int)
    x = rng.hypergeometric(damaged, sizes - damaged, n)
    found, truth = damaged_among(sizes - n, n, x), damaged.sum() - x.sum(axis=1)
    assert np.mean((found.low <= truth) & (truth <= found.high)) >= 0.93


RATES = ErrorRates(recall=Rate.of(63, 70), alarms=Rate.of(19, 385))


def test_the_flags_are_corrected_as_rogan_and_gladen_do():
    total = adjusted_total(300, 2000, RATES)
    assert total.estimate == pytest.approx((300 / 2000 - 19 / 385) / (63 / 70 - 19 / 385) * 2000)
    assert total.low < total.estimate < total.high
    assert not total.contradicted


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 500), st.floats(0, 1), st.integers(0, 70), st.integers(0, 385))
def test_a_corrected_total_stays_within_the_units(units, share, found, alarms):
    rates = ErrorRates(recall=Rate.of(found, 70), alarms=Rate.of(alarms, 385))
    total = adjusted_total(round(share * units), units, rates)
    assert 0 <= total.low <= total.high <= units
    if total.estimate is not None:
        assert total.low <= total.estimate <= total.high


def test_a_model_that_flags_everything_says_nothing():
    rates = ErrorRates(recall=Rate.of(70, 70), alarms=Rate.of(384, 385))
    assert not rates.tell_apart
    total = adjusted_total(450, 450, rates)
    assert (total.estimate, total.low, total.high) == (None, 0, 450)


def test_flags_that_no_number_explains_leave_everything_open():
    rates = ErrorRates(recall=Rate.of(400, 400), alarms=Rate.of(360, 400))
    total = adjusted_total(0, 1000, rates)
    assert (total.contradicted, total.low, total.high) == (True, 0, 1000)


def test_corrected_totals_hold_the_truth_often_enough():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        rates = ErrorRates(
            recall=Rate.of(rng.binomial(70, 0.9), 70), alarms=Rate.of(rng.binomial(385, 0.05), 385)
        )
        flags = rng.binomial(100, 0.9) + rng.binomial(1900, 0.05)
        held += bool(no_surprise(np.float64(100), flags, 2000, rates))
    assert held >= 279


def test_areas_that_differ_are_told_from_those_that_do_not():
    labelled = np.full((6, 1), 20)
    apart = chance_of_likeness(labelled, np.array([[20], [18], [1], [0], [0], [2]]))
    alike = chance_of_likeness(labelled, np.array([[4], [5], [3], [4], [5], [4]]))
    assert apart == pytest.approx(0.001)
    assert alike > 0.5
    assert chance_of_likeness(labelled, np.zeros((6, 1), int)) == 1
