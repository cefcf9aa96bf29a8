"""Scores: exact, refused where they do not exist, with intervals that say what they rest on."""

import time
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import expit

from damagenet.errors import EvaluationError
from damagenet.evaluation.intervals import (
    binomial_interval,
    block_multiplicities,
    percentile_interval,
)
from damagenet.evaluation.metrics import METRICS, blocks_holding, make_sample, measure
from damagenet.evaluation.reliability import reliability_bins, reliability_svg
from damagenet.evaluation.score_tables import interval_remark
from damagenet.evaluation.scores import score

SIZES = st.integers(2, 60)


@st.composite
def two_classes(draw, ties=True):
    """Probabilities on a coarse lattice (ties are common) with both classes present."""
    n = draw(SIZES)
    p = draw(arrays.arrays(float, n, elements=st.integers(0, 12).map(lambda k: k / 12)))
    labels = draw(arrays.arrays(bool, n))
    labels[0], labels[1] = True, False
    return p, labels


def auroc(p, labels, groups=None):
    sample = make_sample(p, labels, flagged=np.asarray(p) >= 0.5, groups=groups)
    return measure(sample, "auroc")


def counted_pairs(p, labels):
    wins = [
        (a > b) + (a == b) / 2
        for a in np.asarray(p)[np.asarray(labels)]
        for b in np.asarray(p)[~np.asarray(labels)]
    ]
    return np.mean(wins)


@given(two_classes())
def test_auroc_is_the_share_of_pairs_in_the_right_order(case):
    p, labels = case
    assert auroc(p, labels) == pytest.approx(counted_pairs(p, labels))


@given(two_classes())
def test_auroc_does_not_change_under_a_rising_map(case):
    p, labels = case
    assert auroc(expit(5 * p - 1), labels) == pytest.approx(auroc(p, labels))


@given(two_classes())
def test_swapping_the_classes_mirrors_auroc_and_keeps_balanced_accuracy(case):
    p, labels = case
    assert auroc(1 - p, ~labels) == pytest.approx(auroc(p, labels))
    one = measure(make_sample(p, labels, flagged=p > 0.5), "balanced_accuracy")
    other = measure(make_sample(1 - p, ~labels, flagged=p <= 0.5), "balanced_accuracy")
    assert one == pytest.approx(other)


@given(two_classes(), st.randoms(use_true_random=False))
def test_the_order_of_the_data_does_not_matter(case, random):
    p, labels = case
    order = list(range(p.size))
    random.shuffle(order)
    for metric in METRICS:
        before = measure(make_sample(p, labels, flagged=p >= 0.5), metric)
        after = measure(make_sample(p[order], labels[order], flagged=p[order] >= 0.5), metric)
        assert before == (after if after is None else pytest.approx(after, abs=1e-12))


@settings(max_examples=25, deadline=None)
@given(two_classes())
def test_scores_agree_with_torchmetrics(case):
    import torch
    from torchmetrics.functional import classification as reference

    p, labels = case
    scores = score(p, labels, threshold=0.51, blocks=np.arange(p.size), resamples=2)
    truth, said = torch.tensor(labels.astype(int)), torch.tensor(p)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": reference.binary_accuracy(said, truth, threshold=0.51),
            "recall": reference.binary_recall(said, truth, threshold=0.51),
            "auroc": reference.binary_auroc(said, truth),
        }
        specificity = reference.binary_specificity(said, truth, threshold=0.51)
    for metric, value in expected.items():
        assert scores.estimate(metric).value == pytest.approx(float(value), abs=1e-6)
    assert scores.false_alarm_rate.value == pytest.approx(1 - float(specificity), abs=1e-6)


def test_every_score_of_a_small_case_is_as_counted_by_hand():
    scores = score(
        [0.9, 0.8, 0.2, 0.7, 0.1], [1, 1, 1, 0, 0], threshold=0.5, blocks=[0, 0, 1, 1, 1]
    )
    assert scores.confusion.model_dump() == {
        "damaged_found": 2,
        "damaged_missed": 1,
        "undamaged_flagged": 1,
        "undamaged_kept": 1,
    }
    assert scores.accuracy.value == pytest.approx(3 / 5)
    assert scores.recall.value == pytest.approx(2 / 3)
    assert scores.false_alarm_rate.value == pytest.approx(1 / 2)
    assert scores.precision.value == pytest.approx(2 / 3)
    assert scores.balanced_accuracy.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.auroc.value == pytest.approx(5 / 6)
    assert scores.brier.value == pytest.approx((0.01 + 0.04 + 0.64 + 0.49 + 0.01) / 5)
    assert scores.always_damaged_accuracy == pytest.approx(3 / 5)
    assert (scores.n, scores.damaged, scores.undamaged, scores.blocks) == (5, 3, 2, 2)
    assert (scores.recall.n, scores.false_alarm_rate.n, scores.precision.n) == (3, 2, 3)


def test_a_unit_counts_as_damaged_from_the_threshold_on():
    scores = score([0.5, 0.49], [1, 0], threshold=0.5, blocks=[0, 1])
    assert scores.accuracy.value == 1


def test_auroc_with_scenes_counts_pairs_inside_one_scene_only():
    p, labels = [0.9, 0.8, 0.3, 0.2, 0.95], [1, 0, 1, 0, 0]
    scenes = ["a", "a", "b", "b", "c"]
    assert auroc(p, labels, scenes) == 1
    assert auroc(p, labels) == pytest.approx(3 / 6)


def test_perfectly_calibrated_probabilities_have_no_calibration_error():
    p = np.repeat(np.arange(11) / 10, 10)
    labels = np.concatenate([np.arange(10) < k for k in range(11)])
    assert measure(make_sample(p, labels, flagged=p > 0.5), "calibration_error") == pytest.approx(
        0, abs=1e-12
    )


def test_calibration_error_of_a_constant_is_its_distance_from_the_share():
    labels = np.arange(40) < 10
    sample = make_sample(np.full(40, 0.9), labels, flagged=np.ones(40, bool))
    assert measure(sample, "calibration_error") == pytest.approx(0.65)


@settings(max_examples=30, deadline=None)
@given(two_classes(), st.integers(0, 9))
def test_every_interval_holds_its_estimate(case, seed):
    p, labels = case
    scores = score(p, labels, threshold=0.5, blocks=np.arange(p.size), resamples=200, seed=seed)
    for metric in METRICS:
        estimate = scores.estimate(metric)
        if estimate.value is not None and estimate.low is not None:
            assert estimate.low <= estimate.value + 1e-12
            assert estimate.value <= estimate.high + 1e-12


def test_the_interval_of_a_mean_has_the_width_of_theory():
    labels = np.arange(900) % 10 != 0
    flagged = np.arange(900) % 5 != 0
    scores = score(flagged * 1.0, labels, threshold=0.5, blocks=np.arange(900))
    q = scores.accuracy.value
    width = scores.accuracy.high - scores.accuracy.low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(q * (1 - q) / 900), rel=0.1)


def test_blocks_of_equal_outcomes_widen_the_interval():
    right = np.repeat(np.arange(50) % 5 != 0, 20)
    labels = np.arange(1000) % 2 == 0
    p = np.where(right == labels, 1.0, 0.0)
    tiles = score(p, labels, threshold=0.5, blocks=np.arange(1000)).accuracy
    blocks = score(p, labels, threshold=0.5, blocks=np.repeat(np.arange(50), 20)).accuracy
    assert blocks.high - blocks.low > 3 * (tiles.high - tiles.low)


def test_equal_seeds_give_equal_intervals():
    rng = np.random.default_rng(1)
    p, labels = rng.random(200), rng.random(200) < 0.5
    first, second, other = (
        score(p, labels, threshold=0.5, blocks=np.arange(200) // 5, seed=seed) for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


def test_resampled_blocks_always_number_as_many_as_there_are():
    weights = block_multiplicities(7, resamples=50, seed=2)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_the_bootstrap_draws_what_scoring_the_drawn_blocks_again_gives():
    rng = np.random.default_rng(5)
    p, labels, blocks = rng.random(80).round(1), rng.random(80) < 0.4, rng.integers(0, 12, 80)
    sample = make_sample(p, labels, flagged=p >= 0.5, blocks=blocks)
    weights = block_multiplicities(sample.blocks, resamples=5)
    for row in weights:
        rows = np.concatenate(
            [np.flatnonzero(sample.block == b) for b in np.repeat(range(12), row.astype(int))]
        )
        again = make_sample(p[rows], labels[rows], flagged=p[rows] >= 0.5)
        for metric in ("accuracy", "balanced_accuracy", "auroc", "brier", "precision"):
            drawn = METRICS[metric](sample, row[None])[0]
            assert drawn == pytest.approx(measure(again, metric))


def test_one_class_only_gives_no_score_and_says_why():
    scores = score([0.9, 0.1, 0.4], [0, 0, 0], threshold=0.5, blocks=[0, 1, 2])
    for metric in ("balanced_accuracy", "auroc", "recall"):
        assert scores.estimate(metric).value is None
        assert scores.estimate(metric).note == "no damaged unit"
    assert scores.false_alarm_rate.value == pytest.approx(1 / 3)
    assert scores.accuracy.value == pytest.approx(2 / 3)
    only_damaged = score([0.9, 0.1], [1, 1], threshold=0.5, blocks=[0, 1])
    assert only_damaged.auroc.note == "no undamaged unit"
    assert (
        score([0.1], [1], threshold=0.5, blocks=[0]).precision.note == "nothing was called damaged"
    )


def test_scenes_of_one_class_each_have_no_auroc():
    scores = score([0.9, 0.1], [1, 0], threshold=0.5, blocks=[0, 1], groups=["a", "b"])
    assert scores.auroc.value is None
    assert scores.auroc.note == "no scene holds both classes"


def test_few_blocks_give_an_exact_interval_for_shares_and_none_for_the_rest():
    scores = score([0.9] * 3 + [0.1] * 7, [0] * 9 + [1], threshold=0.5, blocks=[0] * 10)
    assert scores.blocks == 1
    expected = binomial_interval(3, 9)
    assert (scores.false_alarm_rate.low, scores.false_alarm_rate.high) == (
        expected.low,
        expected.high,
    )
    assert "1 spatial block: exact binomial interval" in scores.false_alarm_rate.note
    assert scores.auroc.value is not None
    assert scores.auroc.low is None
    assert scores.auroc.note == "1 spatial block: too few for an interval"


def test_a_perfect_score_still_has_an_interval_with_a_width():
    labels = np.arange(60) % 2 == 0
    scores = score(labels * 1.0, labels, threshold=0.5, blocks=np.arange(60))
    assert scores.recall.value == 1
    assert scores.recall.low == pytest.approx(0.025 ** (1 / 30))
    assert scores.recall.note.startswith("all outcomes equal")


def test_perfect_balanced_accuracy_joins_the_exact_limits_of_both_shares():
    labels = np.arange(24) % 2
    scores = score(labels * 1.0, labels, threshold=0.5, blocks=np.arange(24) // 2)
    least = 0.025 ** (1 / 12)
    assert scores.balanced_accuracy.value == 1
    assert scores.balanced_accuracy.low == pytest.approx(least)
    assert scores.balanced_accuracy.high == 1
    assert scores.balanced_accuracy.note.startswith("all outcomes equal (recall, false_alarm_rate)")
    flags_all = score(np.full(24, 0.9), labels, threshold=0.5, blocks=np.arange(24) // 2)
    assert flags_all.balanced_accuracy.low == pytest.approx(least / 2)
    assert flags_all.balanced_accuracy.high == pytest.approx(1 - least / 2)
    # Each block holds one right and one wrong verdict, so that no draw changes the accuracy.
    half = binomial_interval(12, 24)
    assert (flags_all.accuracy.low, flags_all.accuracy.high) == (half.low, half.high)
    assert flags_all.accuracy.note.startswith("all blocks are alike: exact binomial interval")


def test_an_auroc_that_no_draw_changes_has_no_interval():
    labels = np.arange(24) % 2
    auroc = score(labels * 0.8, labels, threshold=0.5, blocks=np.arange(24) // 2).auroc
    assert (auroc.value, auroc.low, auroc.high) == (1, None, None)
    assert auroc.note == "all draws of blocks give the same value, which is no interval"


def test_each_metric_asks_for_ten_blocks_that_hold_what_it_counts():
    rng = np.random.default_rng(2)
    blocks = np.arange(400) // 10
    labels = (blocks < 3) & (np.arange(400) % 5 > 0)
    scores = score(rng.random(400), labels, threshold=0.5, blocks=blocks)
    found = scores.confusion.damaged_found
    expected = binomial_interval(found, int(labels.sum()))
    assert (scores.recall.low, scores.recall.high) == (expected.low, expected.high)
    few = "3 of 40 spatial blocks hold what it counts"
    assert scores.recall.note.startswith(f"{few}: exact binomial interval")
    for name in ("balanced_accuracy", "auroc"):
        assert scores.estimate(name).low is None
        assert scores.estimate(name).note == f"{few}: too few for an interval"
    assert not scores.false_alarm_rate.note
    assert scores.false_alarm_rate.low is not None
    told = list(interval_remark([scores]))
    assert len(told) == 1
    assert "hold what is counted for balanced accuracy, auroc, recall:" in told[0]


def test_the_blocks_of_an_auroc_are_those_of_scenes_with_both_classes():
    blocks = np.arange(60) // 2
    labels = np.arange(60) % 2
    labels[40:] = 0  # The last ten blocks are another scene, of one class.
    rng = np.random.default_rng(0)
    sample = make_sample(
        rng.random(60), labels, flagged=labels > 0, blocks=blocks, groups=np.arange(60) >= 40
    )
    assert blocks_holding(sample, "auroc") == 20
    assert blocks_holding(sample, "false_alarm_rate") == 30


def test_the_calibration_error_has_a_limit_and_no_interval():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, 600)
    scores = score(p, rng.random(600) < p, threshold=0.5, blocks=np.arange(600) // 20)
    assert scores.calibration_error.value < scores.calibration_limit
    assert (scores.calibration_error.low, scores.calibration_error.high) == (None, None)
    assert "chance can only add to it" in scores.calibration_error.note


def test_binomial_interval_is_that_of_clopper_and_pearson():
    interval = binomial_interval(0, 225)
    assert interval.low == 0
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / 225))
    with pytest.raises(EvaluationError, match="got 3 of 2"):
        binomial_interval(3, 2)
    with pytest.raises(EvaluationError, match="got 0 of 0"):
        binomial_interval(0, 0)


def test_too_many_resamples_without_a_value_give_no_interval():
    draws = np.full(100, 0.5)
    draws[:20] = np.nan
    assert percentile_interval(draws, 0.5) is None


@pytest.mark.parametrize(
    ("p", "labels", "sentence"),
    [
        ([], [], "nothing to score: 0 tiles or buildings"),
        ([0.5, float("nan")], [0, 1], "probabilities must be within 0..1, got nan"),
        ([0.5, 1.2], [0, 1], r"probabilities must be within 0..1, got 1.2 \(1x\)"),
        ([0.5, 0.2], [0, 2], r"labels must be 0 \(undamaged\) or 1 \(damaged\), got 2"),
        ([0.5, 0.2], [0, 1, 1], r"labels has shape \(3,\), probabilities have \(2,\)"),
    ],
)
def test_what_cannot_be_scored_is_refused(p, labels, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        score(p, labels, threshold=0.5, blocks=np.zeros(len(p)))


def test_a_threshold_out_of_range_and_an_unknown_metric_are_refused():
    with pytest.raises(EvaluationError, match=r"threshold must be within 0..1, got 1.5"):
        score([0.5], [1], threshold=1.5, blocks=[0])
    scores = score([0.5], [1], threshold=0.5, blocks=[0])
    with pytest.raises(EvaluationError, match="unknown metric 'blocks'; choose one of: accuracy"):
        scores.estimate("blocks")


def test_nine_thousand_tiles_with_two_thousand_resamples_take_seconds():
    rng = np.random.default_rng(0)
    labels = rng.random(9000) < 0.889
    started = time.perf_counter()
    scores = score(rng.random(9000), labels, threshold=0.5, blocks=rng.integers(0, 900, 9000))
    assert time.perf_counter() - started < 20
    assert scores.auroc.low < 0.5 < scores.auroc.high


def test_reliability_bins_hold_everything_once_and_draw_as_svg():
    rng = np.random.default_rng(3)
    p = rng.random(500)
    labels = rng.random(500) < p
    bins = reliability_bins(p, labels)
    assert len(bins) == 15
    assert sum(one.n for one in bins) == 500
    assert sum(one.n * one.share_damaged for one in bins) == pytest.approx(labels.sum())
    assert all(one.low <= one.share_damaged <= one.high for one in bins)
    root = ET.fromstring(reliability_svg(bins, "a <b> & c"))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 15
    assert root.find("{http://www.w3.org/2000/svg}title").text == "a <b> & c"
