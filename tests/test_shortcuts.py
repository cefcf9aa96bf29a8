from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_tiles import make_recipe, make_tiles

from damagenet.errors import EvaluationError
from damagenet.evaluation import shortcuts
from damagenet.evaluation.shortcuts import audit_shortcuts, unseen_rows
from damagenet.inference import Predictor
from damagenet.training.train import train
from data_prep.chip_views import blurred, recoloured, shuffled

CHIPS = arrays(np.uint8, (3, 3, 8, 8), elements=st.integers(0, 255))


def pixels_of(chip):
    return sorted(map(tuple, chip.reshape(3, -1).T.tolist()))


@given(CHIPS, st.integers(0, 100))
def test_shuffling_moves_whole_pixels_and_keeps_every_one(chips, seed):
    moved = shuffled(chips, np.random.default_rng(seed))
    assert (moved.dtype, moved.shape) == (np.uint8, chips.shape)
    assert [pixels_of(chip) for chip in moved] == [pixels_of(chip) for chip in chips]


@given(CHIPS)
def test_a_chip_in_its_own_colours_stays_as_it_is(chips):
    assert np.abs(recoloured(chips, chips).astype(int) - chips).max() <= 1


def test_a_chip_takes_mean_and_contrast_of_another_band_by_band():
    rng = np.random.default_rng(0)
    chips = rng.normal(120, 20, (2, 3, 64, 64)).astype(np.uint8)
    other = rng.normal([[[80]], [[110]], [[140]]], 10, (2, 3, 64, 64)).astype(np.uint8)
    changed = recoloured(chips, other)
    assert changed.mean((2, 3)) == pytest.approx(other.mean((2, 3)), abs=0.5)
    assert changed.std((2, 3)) == pytest.approx(other.std((2, 3)), abs=0.5)


def test_a_blur_takes_the_grain_and_leaves_the_mean():
    chips = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64)).astype(np.uint8)
    soft = blurred(chips, sigma_px=2)
    assert soft.std() < 0.2 * chips.std()
    assert soft.mean((2, 3)) == pytest.approx(chips.mean((2, 3)), abs=2)


def whole_tiles(seed=0):
    """Return made tiles at the side of a chip."""
    tiles = make_tiles(seed=seed)
    return replace(tiles, pixels=tiles.pixels.repeat(4, axis=1).repeat(4, axis=2))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that has learned that damage is dark, and nothing else there is to learn."""
    return Predictor(
        train(make_recipe(epochs=6), tmp_path_factory.mktemp("net"), tiles=whole_tiles())
    )


def with_twins():
    """Return new tiles of which the first is damaged and the second the same house before."""
    tiles = whole_tiles(seed=5)
    place = tiles.manifest.columns.get_indexer(["lon", "lat", "column", "row_px"])
    tiles.manifest.iloc[0, place] = tiles.manifest.iloc[1, place]
    tiles.manifest["acquisition"] = np.where(np.arange(len(tiles)) < 48, "A", "B")
    return tiles


def test_what_a_network_of_colours_leans_on_is_seen(network):
    tiles = with_twins()
    rows = np.arange(len(tiles))
    found = {fold.fold: fold for fold in audit_shortcuts(network, tiles, rows)}
    score = {name: fold.scores.balanced_accuracy.value for name, fold in found.items()}
    assert score[shortcuts.AS_THEY_ARE] > 0.95
    assert score[shortcuts.SHUFFLED] > 0.95  # colours are all it needs
    assert score[shortcuts.RECOLOURED] < 0.05  # and colours are what it follows
    assert score[shortcuts.BLURRED] > 0.95
    assert [found[name].scores.n for name in ("pass A", "pass B")] == [48, 48]


def test_a_twin_is_a_damaged_house_and_the_same_house_before(network):
    tiles = with_twins()
    damaged = np.flatnonzero(tiles.labels == 1)
    twins = int(tiles.labels[0] != tiles.labels[1])
    rows = np.arange(len(tiles))
    found = {fold.fold: fold for fold in audit_shortcuts(network, tiles, rows)}
    assert found[shortcuts.TWINS].scores.n == 2 * twins == 2
    with pytest.raises(EvaluationError, match="needs tiles of both classes"):
        audit_shortcuts(network, tiles, damaged)


def test_only_distinct_tiles_on_unseen_ground_are_audited():
    tiles = make_tiles()
    tiles.manifest.loc[3, "duplicate_of"] = "2.jpeg"
    seen = np.arange(len(tiles)) < 2
    assert unseen_rows(tiles, seen).tolist() == [2, *range(4, len(tiles))]
