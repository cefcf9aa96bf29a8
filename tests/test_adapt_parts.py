"""The parts of an adaptation: blocks, views, head, stages, and what is compared."""

import copy

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from damagenet.adapt.blocks import LEAST, apart, fold_of, overlapping, set_aside
from damagenet.adapt.comparing import compare, compare_aside
from damagenet.adapt.dividing import among
from damagenet.adapt.fitting import calibrated_loss, unit_logits
from damagenet.adapt.head import balanced_weights, features_of, fit_head
from damagenet.adapt.labelled import Labelled
from damagenet.adapt.tail import learning_stages, train_tail
from damagenet.adapt.views import relit, turned
from damagenet.calibration import LOG_TEMPERATURE_LIMIT, fit_calibration, probabilities
from damagenet.card import Calibration
from damagenet.errors import DataError, EvaluationError
from damagenet.evaluation.contradictions import one_label_each
from damagenet.evaluation.metrics import make_sample
from damagenet.recipe import Choice, ModelSettings
from models.factory import build_network
from models.stages import stages

PX = 32


def boxes_around(centres, side=30.0):
    return np.concatenate([centres - side / 2, centres + side / 2], axis=1)


def network_of(inputs=("post",), name="compact_resnet"):
    torch.manual_seed(0)
    return build_network(
        ModelSettings(architecture=Choice(name=name)),
        pixel_mean=(110.0, 110.0, 110.0),
        pixel_std=(40.0, 40.0, 40.0),
        inputs=inputs,
        size_px=PX,
    ).eval()


def coloured(count=24, *, images=1, seed=0):
    """Buildings of one chip each; the damaged are blue in the first picture."""
    rng = np.random.default_rng(seed)
    damaged = np.arange(count) % 3 == 0
    pictures = []
    for number in range(images):
        colour = np.where(damaged[:, None] & (number == 0), (60, 80, 160), (90, 130, 70))
        noise = rng.normal(0, 12, (count, 3, PX, PX))
        pictures.append(np.clip(colour[:, :, None, None] + noise, 0, 255).astype(np.uint8))
    centres = np.stack([60.0 * np.arange(count), np.zeros(count)], axis=1)
    return Labelled(
        unit_id=np.arange(count).astype(str),
        damaged=damaged,
        random=np.zeros(count, bool),
        scene=np.full(count, "storm"),
        scene_sha256=np.full(count, "f" * 64),
        images=tuple(pictures),
        owner=np.arange(count),
        ground=boxes_around(centres),
        lonlat=np.zeros((count, 2)),
        left_out={},
    )


places = st.lists(
    st.tuples(st.floats(0, 1500), st.floats(0, 1500), st.booleans(), st.booleans()),
    min_size=20,
    max_size=60,
)


@settings(deadline=None, max_examples=30)
@given(places, st.integers(0, 3), st.sampled_from([0.2, 0.3, 0.5]))
def test_parts_share_no_ground_and_hold_both_classes_or_are_refused(found, seed, share):
    centres = np.array([place[:2] for place in found])
    damaged, random = (np.array([place[n] for place in found]) for n in (2, 3))
    owner = np.arange(len(found))
    pairs = overlapping(boxes_around(centres), owner)
    try:
        parts = set_aside(centres, damaged, pairs, random=random, share=share, seed=seed)
    except DataError:
        return
    assert not np.intersect1d(parts.fitted, parts.aside).size
    assert len(parts.fitted) + len(parts.aside) + parts.dropped == len(found)
    for side in (parts.fitted, parts.aside):
        assert min(damaged[side].sum(), (~damaged[side]).sum()) >= LEAST
    boxes = shapely.box(*boxes_around(centres).T)
    tree = shapely.STRtree(boxes[parts.aside])
    assert not tree.query(boxes[parts.fitted], predicate="intersects").size
    assert not np.intersect1d(parts.block[parts.fitted], parts.block[parts.aside]).size


def test_where_random_labels_hold_both_classes_no_other_is_aside():
    rng = np.random.default_rng(2)
    centres, damaged = rng.uniform(0, 2000, (120, 2)), rng.random(120) < 0.4
    random = rng.random(120) < 0.5
    pairs = overlapping(boxes_around(centres), np.arange(120))
    parts = set_aside(centres, damaged, pairs, random=random)
    assert random[parts.aside].all()
    few = np.arange(120) < 3
    assert not few[set_aside(centres, damaged, pairs, random=few).aside].all()


def test_what_random_labels_say_does_not_choose_which_are_aside():
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, 2000, (120, 2))
    pairs, every = overlapping(boxes_around(centres), np.arange(120)), np.ones(120, bool)
    drawn, chosen = set(), set()
    for _ in range(6):
        damaged = rng.random(120) < 0.3
        drawn.add(tuple(set_aside(centres, damaged, pairs, random=every).aside))
        chosen.add(tuple(set_aside(centres, damaged, pairs).aside))
    assert len(drawn) == 1
    assert len(chosen) > 1


def test_known_labels_are_never_aside_and_the_others_are_where_they_can_be():
    rng = np.random.default_rng(4)
    centres, damaged = rng.uniform(0, 2000, (120, 2)), rng.random(120) < 0.4
    pairs = overlapping(boxes_around(centres), np.arange(120))
    known = centres[:, 0] < 1200
    parts = set_aside(centres, damaged, pairs, known=known)
    assert not known[parts.aside].any()
    assert len(parts.aside) == pytest.approx(36, abs=6)
    assert known[parts.fitted].sum() > known.sum() / 2
    with pytest.raises(DataError, match="of each class to fit"):
        set_aside(centres, damaged, pairs, known=np.ones(120, bool))


def test_equal_seeds_divide_alike():
    rng = np.random.default_rng(0)
    centres, damaged = rng.uniform(0, 2000, (80, 2)), rng.random(80) < 0.3
    pairs = overlapping(boxes_around(centres), np.arange(80))
    first, second = (set_aside(centres, damaged, pairs, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.aside, second.aside)
    assert 0.15 < len(first.aside) / 80 < 0.45


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=4, max_size=60))
def test_folds_never_cut_a_block(rows):
    block, damaged = (np.array(column) for column in zip(*rows, strict=True))
    fold = fold_of(block, damaged.astype(bool), 4)
    assert all(len(np.unique(fold[block == one])) == 1 for one in np.unique(block))
    if len(np.unique(block)) >= 4:
        assert len(np.unique(fold)) == 4


def test_training_rows_near_test_rows_are_left_out():
    pairs = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])
    np.testing.assert_array_equal(apart(np.array([0, 2, 4]), np.array([1]), pairs), [2, 4])
    np.testing.assert_array_equal(among(pairs, np.array([0, 2, 3])), [[1, 2], [2, 1]])


def outlines(*rows):
    names, damaged, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame(
        {"unit_id": names, "damaged": damaged}, geometry=list(shapes), crs="EPSG:32615"
    )


def test_neighbours_that_share_a_wall_are_two_buildings():
    labels = outlines(
        ("a", True, shapely.box(0, 0, 10, 10)), ("b", False, shapely.box(9, 0, 19, 9))
    )
    assert list(one_label_each(labels, source="x")["unit_id"]) == ["a", "b"]


def test_points_within_a_metre_are_one_building():
    labels = outlines(("a", True, shapely.Point(0, 0)), ("b", False, shapely.Point(0.5, 0)))
    with pytest.raises(EvaluationError, match="ids a and b"):
        one_label_each(labels, source="x")
    agreeing = labels.assign(damaged=True)
    assert list(one_label_each(agreeing, source="x")["unit_id"]) == ["a"]


def test_the_eight_views_are_different_and_square():
    image = torch.arange(3 * 4 * 4).reshape(1, 3, 4, 4)
    seen = {tuple(turned(image, number).flatten().tolist()) for number in range(8)}
    assert len(seen) == 8
    torch.testing.assert_close(turned(image, 0), image)


def test_both_pictures_of_a_chip_get_the_same_light():
    image = torch.full((5, 3, 8, 8), 100, dtype=torch.uint8)
    image[:, :, ::2] = 140
    first, second = relit([image, image], np.random.default_rng(0))
    torch.testing.assert_close(first, second)
    assert first.min() >= 0
    assert first.max() <= 255
    assert len(torch.unique(first[:, 0, 0, 0])) == 5


def test_weights_let_classes_and_buildings_count_alike():
    weights = balanced_weights(np.array([True, False, False]), np.array([0, 0, 1, 2]))
    np.testing.assert_allclose(weights, [0.25, 0.25, 0.25, 0.25])


def test_a_strong_pull_keeps_the_head_and_a_weak_one_tells_the_classes():
    labelled, network = coloured(), network_of()
    features = features_of(network, labelled, seed=0)
    weights = balanced_weights(labelled.damaged, labelled.owner)
    kept = fit_head(features.views, labelled.damaged, weights, network.head, 1e6)
    torch.testing.assert_close(kept.weight, network.head.weight, atol=1e-2, rtol=0)
    free = fit_head(features.views, labelled.damaged, weights, network.head, 0.01)
    with torch.inference_mode():
        right = (free(features.plain)[:, 0] > 0).numpy() == labelled.damaged
    assert right.all()


def test_only_the_last_stages_learn_and_the_base_stays():
    labelled, network = coloured(), network_of()
    before = copy.deepcopy(network.state_dict())
    learned = train_tail(
        network, labelled, network.head, learning=1, steps=10, seed=0, bfloat16=False
    )
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    last = tuple(f"features.{part}" for part in (stages(network)[-1].name, "head"))
    changed = {
        name for name, value in learned.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert all(name.startswith((*last, "head")) for name in changed)
    assert not any("running" in name for name in changed)
    assert all(parameter.requires_grad for parameter in learned.parameters())
    assert not learned.training


def test_the_stages_learn_what_the_labels_say():
    labelled, network = coloured(), network_of()
    head = nn.Linear(network.head.in_features, 1)
    nn.init.zeros_(head.weight)
    learned = train_tail(network, labelled, head, learning=3, steps=30, seed=0, bfloat16=True)
    logits = unit_logits(learned, labelled)
    assert logits[labelled.damaged].min() > logits[~labelled.damaged].max()


def test_networks_of_two_pictures_are_adapted_alike():
    labelled, network = coloured(images=2), network_of(("post", "pre"))
    features = features_of(network, labelled, seed=0)
    weights = balanced_weights(labelled.damaged, labelled.owner)
    head = fit_head(features.views, labelled.damaged, weights, network.head, 0.01)
    learned = train_tail(network, labelled, head, learning=2, steps=10, seed=0, bfloat16=False)
    logits = unit_logits(learned, labelled)
    assert logits[labelled.damaged].min() > logits[~labelled.damaged].max()


def test_a_backbone_learns_in_its_last_third():
    labelled, network = coloured(), network_of(name="efficientnet_lite0")
    learning = learning_stages(network, None)
    learned = train_tail(
        network, labelled, network.head, learning=learning, steps=10, seed=0, bfloat16=False
    )
    same = [
        all(torch.equal(*pair) for pair in zip(new.parameters(), old.parameters(), strict=True))
        for new, old in zip(stages(learned), stages(network), strict=True)
    ]
    assert same == [True] * (len(same) - learning) + [False] * learning


def test_small_networks_learn_in_all_stages_but_the_first_and_large_ones_in_a_third():
    compact, lite = network_of(), network_of(name="efficientnet_lite0")
    assert learning_stages(compact, None) == len(stages(compact)) - 1
    assert 1 <= learning_stages(lite, None) == round(len(stages(lite)) / 3)
    assert learning_stages(compact, 99) == len(stages(compact))


def test_a_building_of_several_chips_is_as_damaged_as_its_worst():
    labelled, network = coloured(), network_of()
    single = unit_logits(network, labelled)
    object.__setattr__(labelled, "owner", np.arange(24) // 2)
    object.__setattr__(labelled, "unit_id", labelled.unit_id[:12])
    np.testing.assert_allclose(
        unit_logits(network, labelled), single.reshape(12, 2).max(axis=1), atol=1e-5
    )


def test_a_few_separated_labels_do_not_send_the_calibration_to_its_limits():
    logits, labels = np.array([-2.0, -1, 1, 2] * 5), np.array([0, 0, 1, 1] * 5)
    free = fit_calibration(logits, labels)
    held = fit_calibration(logits, labels, shrink=True)
    assert free.temperature == pytest.approx(np.exp(-LOG_TEMPERATURE_LIMIT), rel=0.2)
    assert 0.2 < held.temperature < 1
    assert abs(held.bias) < 0.1


@settings(deadline=None, max_examples=10)
@given(st.floats(0.5, 2), st.floats(-2, 2), st.integers(0, 5))
def test_with_many_labels_the_hold_on_the_calibration_fades(temperature, bias, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, 20_000)
    p = probabilities(logits, Calibration(temperature=temperature, bias=bias))
    labels = (rng.random(20_000) < p).astype(np.int64)
    free, held = (fit_calibration(logits, labels, shrink=shrink) for shrink in (False, True))
    assert held.temperature == pytest.approx(free.temperature, rel=0.01)
    assert held.bias == pytest.approx(free.bias, abs=0.01)


def test_the_calibrated_loss_sees_order_alone():
    rng = np.random.default_rng(0)
    damaged = np.arange(200) % 4 == 0
    good = np.where(damaged, 1.0, -1.0) + rng.normal(0, 0.5, 200)
    poor = np.where(damaged, 1.0, -1.0) + rng.normal(0, 3, 200)
    assert calibrated_loss(good, damaged) < calibrated_loss(poor, damaged)
    assert calibrated_loss(2 * poor + 1, damaged) == pytest.approx(
        calibrated_loss(poor, damaged), abs=0.01
    )


def test_a_model_compared_with_itself_gains_nothing():
    rng = np.random.default_rng(1)
    p, labels = rng.random(300), rng.random(300) < 0.4
    sample = make_sample(p, labels, flagged=p > 0.5, blocks=np.arange(300) // 10)
    for gain in compare(sample, sample, seed=0).gain.values():
        assert (gain.value, gain.low, gain.high) == (0, None, None)
        assert gain.note == "all draws of blocks give the same value, which is no interval"


def test_a_gain_that_all_blocks_share_has_no_interval_of_no_width():
    labels = np.arange(24) % 2
    flags_all = make_sample(
        np.full(24, 0.9), labels, flagged=np.ones(24, bool), blocks=np.arange(24) // 2
    )
    perfect = make_sample(
        np.where(labels, 0.9, 0.1), labels, flagged=labels == 1, blocks=np.arange(24) // 2
    )
    gain = compare(flags_all, perfect, seed=0).gain["balanced_accuracy"]
    assert (gain.value, gain.low, gain.high) == (0.5, None, None)
    assert gain.note.startswith("all draws of blocks give the same value")


def test_a_gain_in_recall_tells_how_few_blocks_hold_damage():
    rng = np.random.default_rng(0)
    labels = np.arange(300) < 40
    before, after = (
        make_sample(p, labels, flagged=p > 0.5, blocks=np.arange(300) // 10)
        for p in rng.random((2, 300))
    )
    gain = compare(before, after, seed=0).gain
    assert gain["recall"].note == "4 of 30 spatial blocks hold what it counts: too narrow"
    assert not gain["false_alarm_rate"].note


def test_a_threshold_from_other_blocks_does_not_flatter_noise(card_of_base):
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(20):
        damaged = rng.random(40) < 0.5
        noise = rng.normal(0, 1, (2, 40))
        found = compare_aside(*noise, damaged, np.arange(40) // 4, card=card_of_base, seed=0)
        gains.append(found.after.balanced_accuracy.value)
    # A threshold chosen on the same labels would find 0.6 in pure noise.
    assert np.mean(gains) == pytest.approx(0.5, abs=0.05)


@pytest.fixture
def card_of_base():
    from assessments import make_card

    return make_card()


def test_with_few_blocks_the_gain_still_has_an_interval_and_says_so(card_of_base):
    damaged = np.arange(40) % 2 == 0
    logits = np.where(damaged, 2.0, -2.0)
    logits[:4] = -logits[:4]  # Of two damaged and two undamaged units the verdict stays wrong.
    found = compare_aside(
        -abs(logits) * np.sign(2 * damaged - 1), logits, damaged, np.arange(40) // 10,
        card=card_of_base, seed=0,
    )  # fmt: skip
    gain = found.gain["balanced_accuracy"]
    assert gain.value == pytest.approx(0.9)
    assert "4 spatial blocks" in gain.note
    assert gain.low is not None
