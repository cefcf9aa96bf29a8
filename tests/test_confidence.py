"""The band of doubt that keeps a share of errors: its guarantee, its laws, and what it is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from damagenet.calibration import balanced_threshold
from damagenet.card import Confidence
from damagenet.confidence import (
    MOST_MARGINS,
    at_prior,
    confidence_curve,
    confident_distance,
    labels_needed,
    logits,
)
from damagenet.errors import EvaluationError

DRAWS = 250
TRUTH = 100_000


def drawn(rng, count, *, prior, apart):
    """Return calibrated probabilities of two normal classes that far apart, and their labels."""
    labels = (rng.random(count) < prior).astype(int)
    x = rng.normal(np.where(labels == 1, apart / 2, -apart / 2), 1)
    return 1 / (1 + np.exp(-(apart * x + np.log(prior / (1 - prior))))), labels


def wrong_and_standing(half, threshold, p, labels):
    """Return the share of wrong ones among verdicts outside the band, and the share outside."""
    if half is None:
        return 0.0, 0.0
    stands = np.abs(logits(p) - logits(threshold)) >= half
    wrong = (p >= threshold) != (labels == 1)
    return (wrong & stands).sum() / max(1, stands.sum()), stands.mean()


def simulated(*, prior, apart, count, max_error, chosen, wanted=None):
    """Return in how many of DRAWS calibrations the promise was broken, and how much stood."""
    rng = np.random.default_rng(7)
    truth = drawn(rng, TRUTH, prior=wanted or prior, apart=apart)
    odds = 1.0 if wanted is None else prior / (1 - prior) * (1 - wanted) / wanted
    broken, stood = 0, []
    for number in range(DRAWS):
        p, labels = drawn(rng, count, prior=prior, apart=apart)
        threshold = balanced_threshold(p, labels) if chosen else prior
        curve = confidence_curve(p, labels, threshold)
        if wanted is not None:
            curve = at_prior(curve, wanted, seed=number)
        # The truth is calibrated at its own prior; distances are of the calibration's.
        seen = 1 / (1 + np.exp(-(logits(truth[0]) + np.log(odds))))
        half = confident_distance(curve, max_error)
        wrong, standing = wrong_and_standing(half, threshold, seen, truth[1])
        broken += wrong > max_error
        stood.append(standing)
    return broken, float(np.mean(stood))


@pytest.mark.parametrize("chosen", [False, True], ids=["given", "chosen on the same labels"])
@pytest.mark.parametrize(
    ("prior", "apart", "count", "max_error"),
    [(0.2, 2.5, 60, 0.05), (0.5, 2.5, 120, 0.1), (0.5, 2.5, 400, 0.1), (0.2, 1.5, 400, 0.1)],
)
def test_the_promise_is_broken_in_one_calibration_of_ten_at_most(
    prior, apart, count, max_error, chosen
):
    broken, _ = simulated(prior=prior, apart=apart, count=count, max_error=max_error, chosen=chosen)
    # Beyond what chance makes of one in ten, in one of a thousand such tests.
    assert broken <= binom.ppf(0.999, DRAWS, 0.1)


@pytest.mark.parametrize(("count", "max_error", "least"), [(120, 0.05, 0.9), (400, 0.02, 0.8)])
def test_the_promise_costs_few_verdicts_where_the_classes_lie_apart(count, max_error, least):
    broken, stood = simulated(prior=0.2, apart=4, count=count, max_error=max_error, chosen=True)
    assert stood >= least
    assert broken <= binom.ppf(0.999, DRAWS, 0.1)


def test_the_promise_holds_at_another_prior_too():
    broken, stood = simulated(
        prior=0.5, apart=3.5, count=400, max_error=0.05, chosen=False, wanted=0.1
    )
    assert broken <= binom.ppf(0.999, DRAWS, 0.1)
    assert stood > 0.5


def predictions():
    pair = st.tuples(st.integers(1, 999).map(lambda value: value / 1000), st.integers(0, 1))
    return st.lists(pair, min_size=30, max_size=120).map(
        lambda pairs: tuple(np.array(side) for side in zip(*pairs, strict=True))
    )


@given(predictions(), st.floats(0.05, 0.95), st.sampled_from([0.1, 0.3, 0.45]))
@settings(max_examples=60, deadline=None)
def test_of_the_labels_outside_the_band_no_larger_share_is_wrong(pair, threshold, max_error):
    p, labels = pair
    curve = confidence_curve(p, labels, threshold)
    half = confident_distance(curve, max_error)
    margins = np.concatenate([curve.damaged, curve.undamaged])
    wrong = np.concatenate([np.array(curve.damaged) < 0, np.array(curve.undamaged) >= 0])
    if half is not None:
        assert wrong[np.abs(margins) >= half].mean() <= max_error


@given(predictions(), st.floats(0.05, 0.95))
@settings(max_examples=60, deadline=None)
def test_margins_tell_the_verdicts(pair, threshold):
    p, labels = pair
    curve = confidence_curve(p, labels, threshold)
    called = p >= threshold
    assert sum(margin >= 0 for margin in curve.damaged) == called[labels == 1].sum()
    assert sum(margin >= 0 for margin in curve.undamaged) == called[labels == 0].sum()


def test_without_an_error_everything_stands_as_soon_as_there_are_labels_enough():
    needed = labels_needed(0.05)
    assert (needed, labels_needed(0.1)) == (59, 29)
    few = Confidence(damaged=(2.0,) * 10, undamaged=(-3.0,) * (needed - 11))
    enough = Confidence(damaged=(2.0,) * 10, undamaged=(-3.0,) * (needed - 10))
    assert confident_distance(few, 0.05) is None
    assert confident_distance(enough, 0.05) == 0


def test_a_surely_wrong_model_lets_nothing_stand():
    wrong = Confidence(damaged=(-9.0,) * 50, undamaged=(-9.0,) * 100)
    assert confident_distance(wrong, 0.05) is None


def test_errors_near_the_threshold_end_the_band_between_them_and_the_rest():
    curve = Confidence(damaged=(-0.5,) * 30 + (4.0,) * 100, undamaged=(-4.0,) * 100)
    assert confident_distance(curve, 0.05) == pytest.approx(2.25)


def test_another_threshold_is_judged_by_the_same_labels():
    p, labels = drawn(np.random.default_rng(0), 3_000, prior=0.4, apart=2.5)
    moved = confidence_curve(p, labels, 0.7)
    shift = float(logits(0.7) - logits(0.4))
    found = confident_distance(confidence_curve(p, labels, 0.4), 0.05, shift=shift)
    assert found == pytest.approx(confident_distance(moved, 0.05), abs=0.01)


def test_margins_of_many_labels_are_thinned_in_equal_shares():
    p, labels = drawn(np.random.default_rng(0), 10 * MOST_MARGINS, prior=0.2, apart=2)
    curve = confidence_curve(p, labels, 0.3)
    kept = len(curve.damaged) + len(curve.undamaged)
    assert kept == pytest.approx(MOST_MARGINS, abs=2)
    assert len(curve.damaged) / kept == pytest.approx(labels.mean(), abs=1e-3)
    every = confident_distance(confidence_curve(p[:MOST_MARGINS], labels[:MOST_MARGINS], 0.3), 0.1)
    assert confident_distance(curve, 0.1) == pytest.approx(every, abs=0.3)


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98))
@settings(max_examples=40, deadline=None)
def test_labels_at_another_prior_are_labels_left_out(prior, wanted):
    count = 20_000
    damaged = round(prior * count)
    curve = Confidence(damaged=(1.0,) * damaged, undamaged=(-1.0,) * (count - damaged))
    moved = at_prior(curve, wanted)
    assert len(moved.damaged) <= damaged
    assert len(moved.undamaged) <= count - damaged
    left = len(moved.damaged) + len(moved.undamaged)
    noise = 5 * np.sqrt(wanted * (1 - wanted) / left)
    assert len(moved.damaged) / left == pytest.approx(wanted, abs=noise + 1e-4)


def test_the_prior_of_the_labels_leaves_them_all():
    curve = Confidence(damaged=(1.0,) * 30, undamaged=(-1.0,) * 70)
    assert at_prior(curve, 0.3) == curve
    # As near as whole labels can come.
    assert at_prior(curve, 0.305) == curve
    assert len(at_prior(curve, 0.15).damaged) < 25


@pytest.mark.parametrize(
    ("p", "labels", "threshold", "message"),
    [
        ([0.1, 0.2], [1], 0.5, r"two equally long rows of numbers, got \(2,\) and \(1,\)"),
        ([0.1, np.nan], [1, 0], 0.5, "two equally long rows of numbers"),
        ([0.1, 0.2], [1, 0], 1.0, r"threshold inside 0\.\.1, got 1"),
    ],
)
def test_what_has_no_margins_is_refused(p, labels, threshold, message):
    with pytest.raises(EvaluationError, match=message):
        confidence_curve(np.array(p), np.array(labels), threshold)
