"""Which buildings are suggested: doubtful, unlike, spread out, and some with equal chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from damagenet.adapt.diversity import Choices, choose, ground_blocks, metres, uncertainty_of
from damagenet.adapt.rounds import interleaved, plan_round

APART_M = 28.0


def choices(count=200, *, seed=0, step_m=100.0, free=None, **changes):
    """Units on a line, 100 m apart, with random embeddings and doubts."""
    rng = np.random.default_rng(seed)
    given_ = {
        "embeddings": rng.normal(size=(count, 5)),
        "uncertainty": rng.uniform(0.1, 1, count),
        "places": np.stack([step_m * np.arange(count), np.zeros(count)], axis=1),
        "free": np.ones(count, dtype=bool) if free is None else free,
        "apart_m": APART_M,
    }
    return Choices(**(given_ | changes))


def chosen(given_, count, *, taken=(), seed=0):
    return choose(given_, count, taken=taken, rng=np.random.default_rng(seed))


def test_uncertainty_is_one_at_the_threshold_and_falls_on_both_sides():
    p = np.array([0.0, 0.01, 0.1, 0.3, 0.6, 0.99, 1.0])
    doubt = uncertainty_of(p, 0.3)
    assert doubt[3] == 1
    assert (np.diff(doubt[:4]) > 0).all()
    assert (np.diff(doubt[3:]) < 0).all()
    assert doubt.min() > 0.05


def test_places_on_a_sphere_are_as_far_apart_as_on_the_ground():
    a, b = metres(np.array([-95.5, -95.5]), np.array([29.0, 29.001]))
    assert np.linalg.norm(a - b) == pytest.approx(111.2, abs=0.2)
    a, b = metres(np.array([179.9995, -179.9995]), np.array([60.0, 60.0]))
    assert np.linalg.norm(a - b) == pytest.approx(55.6, abs=0.1)


def test_doubtful_units_are_chosen_more_often():
    doubt = np.where(np.arange(200) % 2 == 0, 1.0, 0.1)
    given_ = choices(uncertainty=doubt)
    shares = [np.mean(np.array(chosen(given_, 20, seed=seed)) % 2 == 0) for seed in range(20)]
    assert np.mean(shares) > 0.8


def test_a_useless_model_leaves_diversity_alone_to_decide():
    # Three kinds of unit, two of them rare; the model says the same of all.
    kind = np.zeros(300, dtype=int)
    kind[[40, 140, 240]], kind[[90, 190, 290]] = 1, 2
    given_ = choices(300, embeddings=np.eye(3)[kind], uncertainty=np.full(300, 0.1))
    assert all(set(kind[chosen(given_, 3, seed=seed)]) == {0, 1, 2} for seed in range(20))


def test_what_is_like_a_labelled_unit_is_not_chosen():
    embeddings = np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], 50, axis=0)
    free = np.ones(150, dtype=bool)
    free[[0, 50]] = False
    picked = chosen(choices(150, embeddings=embeddings, free=free), 1, taken=[0, 50])
    assert picked[0] >= 100


def test_units_that_are_all_alike_are_chosen_all_the_same():
    given_ = choices(12, embeddings=np.ones((12, 3)))
    assert sorted(chosen(given_, 20)) == list(range(12))


@given(
    count=st.integers(1, 60),
    wanted=st.integers(0, 70),
    step_m=st.sampled_from([0.0, 10.0, 30.0]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_free_units_are_chosen_once_each_and_apart_while_there_are_others(
    count, wanted, step_m, seed
):
    free = np.random.default_rng(seed).random(count) < 0.7
    given_ = choices(count, seed=seed, step_m=step_m, free=free)
    taken = np.flatnonzero(~free).tolist()
    picked = chosen(given_, wanted, taken=taken, seed=seed)
    assert len(picked) == len(set(picked)) == min(wanted, free.sum())
    assert free[picked].all()
    assert picked == chosen(given_, wanted, taken=taken, seed=seed)
    for number, unit in enumerate(picked):
        near = min((abs(unit - other) * step_m for other in [*taken, *picked[:number]]), default=99)
        left = set(np.flatnonzero(free)) - set(picked[:number])
        others = [
            min((abs(one - other) * step_m for other in [*taken, *picked[:number]]), default=99)
            for one in left
        ]
        assert near >= APART_M or max(others) < APART_M


@given(wanted=st.integers(10, 80), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_every_block_of_the_ground_gets_its_part(wanted, seed):
    # All doubt lies in one corner, which may not draw all picks to it.
    doubt = np.where(np.arange(400) < 40, 1.0, 1e-6)
    picked = np.array(chosen(choices(400, uncertainty=doubt), wanted, seed=seed))
    per_half = np.bincount(picked // 200, minlength=2)
    # Up to sixteen blocks: those that are served once more may all lie in one half.
    assert abs(per_half[0] - per_half[1]) <= 8
    assert per_half.min() >= wanted // 4


@given(count=st.integers(1, 100), power=st.integers(0, 4), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_blocks_hold_as_many_units_each(count, power, seed):
    places = np.random.default_rng(seed).normal(size=(count, 3))
    block = ground_blocks(places, np.arange(count), 2**power)
    sizes = np.bincount(block, minlength=2**power)
    assert sizes.sum() == count
    assert len(sizes) == 2**power
    assert sizes.max() - sizes.min() <= max(1, count % 2**power)


@given(random=st.integers(0, 40), other=st.integers(0, 40))
def test_an_order_mixes_random_and_chosen_evenly(random, other):
    order = interleaved(list(range(random)), list(range(100, 100 + other)))
    assert [unit for unit, is_random in order if is_random] == list(range(random))
    assert [unit for unit, is_random in order if not is_random] == list(range(100, 100 + other))
    for stop in range(len(order) + 1):
        early = sum(is_random for _, is_random in order[:stop])
        assert abs(early - stop * random / max(random + other, 1)) < 1


def rounds(count, sizes, *, share, seed):
    """Play rounds one after the other; return which units are random, and which labelled."""
    random, free = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
    rng = np.random.default_rng(seed)
    # Doubt is where the damage is: chosen units are no fair sample.
    doubt = np.where(np.arange(count) < count // 3, 1.0, 0.01)
    for size in sizes:
        given_ = choices(count, uncertainty=doubt, free=free.copy())
        planned = plan_round(given_, random=random.copy(), share=share, n=size, rng=rng)
        assert len(planned.order) == min(size, free.sum())
        assert not free[list(planned.again)].any()
        for unit, is_random in planned.order:
            assert free[unit]
            free[unit], random[unit] = False, is_random
        random[list(planned.again)] = True
    return random, ~free


def test_over_several_rounds_each_unit_has_the_same_chance_of_being_random():
    count, games = 30, 3000
    hits = sum(rounds(count, [6, 6, 6], share=0.5, seed=seed)[0] for seed in range(games))
    assert hits.sum() == games * 9
    # Of 29 degrees of freedom; drawing without replacement makes the sum smaller, never larger.
    assert chisquare(hits).pvalue > 0.001


def test_chosen_units_alone_are_no_such_sample():
    # What the test above must be able to see.
    games = 300
    labelled = sum(rounds(30, [6, 6, 6], share=0.0, seed=seed)[1] for seed in range(games))
    assert chisquare(labelled).pvalue < 1e-6


@given(
    count=st.integers(1, 40),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_rounds_end_when_every_unit_is_labelled(count, sizes, share, seed):
    random, labelled = rounds(count, sizes, share=share, seed=seed)
    assert labelled.sum() == min(sum(sizes), count)
    assert not (random & ~labelled).any()


def test_a_chosen_unit_that_is_drawn_later_counts_as_random_and_needs_no_new_label():
    free = np.arange(20) >= 18  # all but two are labelled
    planned = plan_round(
        choices(20, free=free),
        random=np.zeros(20, dtype=bool),
        share=1.0,
        n=2,
        rng=np.random.default_rng(1),
    )
    assert planned.draws == 2
    assert len(planned.again) == 2
    assert [is_random for _, is_random in planned.order] == [False, False]
