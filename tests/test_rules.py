"""The rules of verdicts: what `--prior`, `--threshold` and `--max-error` make of a card."""

import numpy as np
import pytest
from assessments import make_card
from hypothesis import given
from hypothesis import strategies as st

from damagenet.calibration import probabilities
from damagenet.card import Calibration, Confidence
from damagenet.engine.fingerprints import values_sha256
from damagenet.engine.key import NOT_IN_RECORDS, AssessmentKey, InputHashes
from damagenet.errors import ConfigError
from damagenet.options import AssessOptions
from damagenet.rules import EVERYTHING, Rules

PRIORS = st.floats(0.01, 0.99)
LOGITS = st.lists(st.floats(-8, 8), min_size=1, max_size=8).map(np.array)


def card(**changes):
    calibration = Calibration(temperature=1.3, bias=0.2, fitted_on="validation", prior=0.3)
    fields = {"calibration": calibration, "threshold": 0.35, "uncertain_band": (0.25, 0.45)}
    return make_card().model_copy(update=fields | changes)


def sure(count=100):
    """Return margins of labels that are all right, and one in eight of them near."""
    return Confidence(
        damaged=(0.2,) * (count // 8) + (4.0,) * count,
        undamaged=(-4.0,) * count + (-0.2,) * (count // 8),
    )


def odds(p):
    return p / (1 - p)


@given(LOGITS, PRIORS)
def test_a_prior_multiplies_the_odds(logits, prior):
    given_card = card()
    rules = Rules.of(given_card, AssessOptions(prior=prior))
    before = probabilities(logits, given_card.calibration)
    after = probabilities(logits, rules.calibration)
    ratio = odds(prior) / odds(0.3)
    assert odds(after) == pytest.approx(odds(before) * ratio, rel=1e-9)


@given(LOGITS)
def test_the_cards_own_prior_changes_nothing(logits):
    given_card = card()
    rules = Rules.of(given_card, AssessOptions(prior=0.3))
    assert rules.threshold == given_card.threshold
    assert rules.uncertain_band == given_card.uncertain_band
    same = probabilities(logits, given_card.calibration)
    assert np.array_equal(probabilities(logits, rules.calibration), same)


@given(LOGITS, PRIORS, PRIORS)
def test_a_larger_prior_makes_no_probability_smaller(logits, one, other):
    low, high = (
        probabilities(logits, Rules.of(card(), AssessOptions(prior=prior)).calibration)
        for prior in sorted((one, other))
    )
    assert (low <= high).all()


@given(st.floats(-8, 8), PRIORS)
def test_a_prior_alone_turns_no_verdict(logit, prior):
    def verdict(rules):
        p = float(probabilities(np.array([logit]), rules.calibration)[0])
        low, high = rules.uncertain_band
        near = min(abs(p - edge) for edge in (low, high, rules.threshold)) < 1e-9
        return None if near else (low < p < high, p >= rules.threshold)

    before, after = (verdict(Rules.of(card(), AssessOptions(prior=p))) for p in (None, prior))
    assert None in (before, after) or before == after


def test_older_cards_are_re_weighted_from_the_share_of_their_training_tiles():
    older = card(calibration=Calibration(temperature=1.3), class_prior=0.5)
    rules = Rules.of(older, AssessOptions(prior=0.2))
    assert rules.calibration.bias == pytest.approx(np.log(0.25))


def test_a_threshold_is_read_in_the_re_weighted_probabilities():
    rules = Rules.of(card(), AssessOptions(prior=0.05, threshold=0.5))
    assert rules.threshold == 0.5
    assert rules.uncertain_band == (0.5, 0.5)
    kept = Rules.of(card(), AssessOptions(prior=0.3, threshold=0.4))
    assert kept.uncertain_band == (0.25, 0.45)


def test_a_share_of_errors_needs_the_margins_of_labels():
    with pytest.raises(ConfigError, match=r"--max-error 0\.05 needs .* model toy does not keep"):
        Rules.of(card(), AssessOptions(max_error=0.05))


def test_a_band_that_keeps_the_errors_takes_the_place_of_the_cards():
    wrong_near = Confidence(damaged=(-0.5,) * 40 + (4.0,) * 100, undamaged=(-4.0,) * 100)
    as_labelled = Calibration(temperature=1.3, bias=0.2, prior=140 / 240)
    given_card = card(confidence=wrong_near, calibration=as_labelled)
    rules = Rules.of(given_card, AssessOptions(max_error=0.05))
    low, high = rules.uncertain_band
    centre = np.log(odds(0.35))
    assert (rules.kept, rules.labels) == ("kept", 240)
    assert np.log(odds(high)) - centre == pytest.approx(2.25)
    assert centre - np.log(odds(low)) == pytest.approx(2.25)
    assert Rules.of(card(confidence=sure()), AssessOptions(max_error=0.05)).uncertain_band == (
        0.35,
        0.35,
    )


def test_the_labels_speak_for_the_share_that_the_card_assumes():
    """A card may assume fewer damaged than its labels hold; then fewer of them count."""
    labels = Confidence(damaged=(4.0,) * 400, undamaged=(-4.0,) * 400)
    calibration = Calibration(temperature=1.3, bias=0.2, prior=0.1)
    rare = card(confidence=labels, calibration=calibration)
    assumed = Rules.of(rare, AssessOptions(max_error=0.05)).labels
    assert assumed == pytest.approx(400 + 400 / 9, abs=20)
    assert Rules.of(rare, AssessOptions(max_error=0.05, prior=0.1)).labels == assumed
    assert Rules.of(rare, AssessOptions(max_error=0.05, prior=0.5)).labels == 800


@given(PRIORS)
def test_the_band_is_given_in_re_weighted_probabilities(prior):
    options = AssessOptions(max_error=0.1, prior=prior)
    wrong_near = Confidence(damaged=(-0.5,) * 400 + (4.0,) * 4000, undamaged=(-4.0,) * 9000)
    rules = Rules.of(card(confidence=wrong_near), options)
    centre = np.log(odds(0.35)) + np.log(odds(prior) / odds(0.3))
    assert np.log(odds(rules.threshold)) == pytest.approx(centre)
    low, high = rules.uncertain_band
    assert np.log(odds(high)) + np.log(odds(low)) == pytest.approx(2 * centre, abs=1e-6)


@pytest.mark.parametrize(
    ("confidence", "kept"),
    [
        (Confidence(damaged=(4.0,) * 20, undamaged=(-4.0,) * 20), "too few labels"),
        (Confidence(damaged=(-9.0,) * 90, undamaged=(-9.0,) * 90), "not kept"),
        # Only beyond what six decimals tell from 1 are these right.
        (Confidence(damaged=(18.0,) * 90 + (-14.0,) * 90, undamaged=()), "not kept"),
    ],
)
def test_where_no_band_keeps_the_errors_everything_is_uncertain(confidence, kept):
    rules = Rules.of(card(confidence=confidence), AssessOptions(max_error=0.05))
    assert rules.kept == kept
    low, high = rules.uncertain_band
    assert (low, high) == EVERYTHING
    assert low < 0
    assert high > 1


# ---- what a result depends on


def key(given_card, **options):
    return AssessmentKey.of("s" * 64, given_card, AssessOptions(**options), InputHashes())


def test_results_from_before_these_options_go_on():
    """The key as it was made before cards and options had the fields."""
    given_card = card()
    values = given_card.model_dump(mode="json", exclude=NOT_IN_RECORDS)
    for name in ("confidence", "quantized", "strangeness"):
        del values[name]
    del values["calibration"]["prior"]
    made = key(given_card)
    assert made.model == values_sha256(values)
    assert not {"prior", "max_error"} & made.options.keys()


def test_a_key_depends_on_a_new_field_only_where_it_is_used():
    plain, richer = card(), card(confidence=sure())
    other = card(calibration=plain.calibration.model_copy(update={"prior": 0.9}))
    assert key(plain) == key(richer) == key(other)
    assert key(plain, prior=0.1) != key(other, prior=0.1)
    assert key(richer, max_error=0.1) != key(card(confidence=sure(200)), max_error=0.1)
    assert key(plain).differences(key(plain, prior=0.1)) == ["model", "--prior"]
    assert "--max-error" in key(plain).differences(key(richer, max_error=0.1))
