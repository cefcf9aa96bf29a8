"""Means and paired differences, against figures worked out by hand and the laws they obey."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from damagenet.study.statistics import differences, findable, half_width, holm, mean_of

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)
SCORES = st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=6).filter(
    lambda each: np.std(each) > 1e-6
)
FAMILIES = st.dictionaries(st.sampled_from("abcdefg"), SCORES, min_size=1)


def test_a_mean_has_the_t_interval_of_the_textbook():
    mean = mean_of([0.1, 0.2, 0.3, 0.4, 0.5])
    half = 2.7764451 * math.sqrt(0.025) / math.sqrt(5)
    assert mean.value == pytest.approx(0.3)
    assert (mean.interval.low, mean.interval.high) == pytest.approx((0.3 - half, 0.3 + half))
    assert mean_of([0.7]).interval is None


def test_no_interval_leaves_what_scores_and_their_differences_can_be():
    assert mean_of([0.9, 0.99, 0.7]).interval.high == 1
    assert mean_of([0.01, 0.2, 0.02]).interval.low == 0
    found = differences({"x": [0.9, -0.3]}, family=9)["x"]
    assert (found.interval.low, found.interval.high) == (-1, 1)


def test_a_single_comparison_is_the_paired_t_test():
    own, base = [0.91, 0.93, 0.90, 0.95, 0.92], [0.90, 0.90, 0.91, 0.92, 0.90]
    found = differences({"x": np.subtract(own, base)})["x"]
    expected = ttest_rel(own, base)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.p_holm == found.p
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))
    assert found.interval == found.simultaneous


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.04], family=4) == pytest.approx([0.04, 0.12])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(P_VALUES)
def test_holm_only_raises_p_values_and_keeps_their_order(p):
    adjusted = holm(p)
    bonferroni = [min(1.0, len(p) * each) for each in p]
    for own, new, most in zip(p, adjusted, bonferroni, strict=True):
        assert own <= new <= most
    ordered = [adjusted[place] for place in np.argsort(p, kind="stable")]
    assert ordered == sorted(ordered)


@given(P_VALUES, st.integers(0, 5))
def test_a_larger_family_is_never_kinder(p, more):
    for small, large in zip(holm(p), holm(p, family=len(p) + more), strict=True):
        assert small <= large


@given(FAMILIES)
def test_an_interval_leaves_out_zero_just_where_holm_says_so(pairs):
    for found in differences(pairs).values():
        if abs(found.p_holm - 0.05) > 1e-9:
            assert found.counts != found.interval.holds(0.0)
        assert found.simultaneous.low <= found.interval.low + 1e-12
        assert found.interval.high <= found.simultaneous.high + 1e-12


@given(FAMILIES)
def test_turning_the_comparison_round_turns_the_interval(pairs):
    there = differences(pairs)
    back = differences({name: [-value for value in each] for name, each in pairs.items()})
    for name, found in there.items():
        assert back[name].p_holm == pytest.approx(found.p_holm, abs=1e-9)
        assert back[name].interval.low == pytest.approx(-found.interval.high, abs=1e-9)


def test_an_activation_against_itself_differs_by_nothing():
    found = differences({"x": [0.0] * 5})["x"]
    assert (found.mean, found.p_holm, found.counts) == (0, 1, False)
    assert (found.interval.low, found.interval.high) == (0, 0)


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_a_few_seeds_with_the_same_difference_give_no_word(seeds):
    # 0.905 - 0.9 and 0.805 - 0.8 are the same but for the last bits.
    own, base = [0.905, 0.805, 0.705, 0.605][:seeds], [0.9, 0.8, 0.7, 0.6][:seeds]
    found = differences({"x": np.subtract(own, base)})["x"]
    assert (found.p, found.p_holm, found.counts) == (1, 1, False)
    assert (found.interval.low, found.interval.high) == (-1, 1)


def test_five_seeds_with_the_same_difference_count():
    assert differences({"x": [0.25] * 5})["x"].counts


def test_two_seeds_never_count_and_their_interval_holds_zero():
    found = differences({"x": [0.2, 0.201]})["x"]
    assert (found.p, found.counts) == (1, False)
    assert (found.interval.low, found.simultaneous.low) == (0, 0)
    assert found.interval.high > 0.2


def test_one_seed_is_no_comparison():
    assert differences({"x": [0.3], "y": []}) == {}


def test_the_smallest_difference_that_counts_is_the_half_width():
    each = [0.01, 0.03, 0.02, -0.01, 0.05]
    found = differences({"x": each}, family=15)["x"]
    half = half_width(found.deviation, 5, family=15)
    assert found.interval.high - found.mean == pytest.approx(half)


@pytest.mark.parametrize(("n", "family"), [(5, 15), (3, 1), (2, 15), (10, 4)])
def test_a_findable_difference_is_found_four_times_in_five(n, family):
    draws = np.random.default_rng(0).normal(findable(1.0, n, family=family), 1, (20_000, n))
    halves = [half_width(1.0, n, family=family)] * draws.std(axis=1, ddof=1)
    assert (draws.mean(axis=1) > halves).mean() == pytest.approx(0.8, abs=0.02)
