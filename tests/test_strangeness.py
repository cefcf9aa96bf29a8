"""How strange a scene looks: distances to training tiles, what is usual, and real scenes."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import SIZE_PX, make_bundle, make_scene

from damagenet.assessment import DISTANCE_COLUMN, Assessment
from damagenet.bundle import load_bundle
from damagenet.bundle_writing import save_bundle
from damagenet.engine.assess import assess_scene
from damagenet.errors import BundleError, CancelledError
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.outputs.trust import is_strange
from damagenet.strangeness import (
    BLOCK_TILES,
    MIN_BLOCKS,
    MOST_TILES,
    NEAREST,
    NEIGHBOURS_FILE,
    Neighbours,
    held_out_strangeness,
    read_neighbours,
)
from data_prep.scene import Scene
from data_prep.windows import Grid


def features(count, *, seed=0, width=8):
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 1, (count, width))).float()


# ---- distances


@given(st.integers(0, 99), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_only_the_direction_of_features_counts(seed, scale):
    neighbours, some = Neighbours.of(features(50)), features(9, seed=seed)
    near = neighbours.distances(some)
    assert near.numpy() == pytest.approx(neighbours.distances(scale * some).numpy(), abs=1e-3)
    assert (near >= 0).all()
    assert (near <= 2).all()


def test_training_tiles_are_nearer_than_what_points_elsewhere():
    tiles = torch.tensor([1.0, 1, 0, 0]) + 0.01 * features(100, width=4)
    neighbours = Neighbours.of(tiles)
    assert neighbours.distances(tiles).max() < 0.05
    assert neighbours.distances(-tiles).min() > 1.9
    assert neighbours.distances(torch.tensor([[0.0, 0, 1, 1]])).item() == pytest.approx(
        1.4, abs=0.1
    )


def test_the_distance_is_that_to_the_tenth_nearest_tile():
    one, other = torch.eye(4)[0], torch.eye(4)[1]
    for copies, distance in ((NEAREST, 0.0), (NEAREST - 1, 2**0.5)):
        tiles = torch.stack([one] * copies + [other] * 50)
        assert Neighbours.of(tiles).distances(one[None]).item() == pytest.approx(distance, abs=1e-3)


def test_a_few_tiles_and_many_are_both_enough():
    assert len(Neighbours.of(features(3)).directions) == 3
    assert len(Neighbours.of(features(3 * MOST_TILES)).directions) == MOST_TILES
    assert torch.isfinite(Neighbours.of(features(3)).distances(features(4))).all()


# ---- what is usual


def test_the_limit_holds_most_blocks_of_held_out_ground():
    rng = np.random.default_rng(0)
    level = np.linspace(0.5, 1.5, 41)
    distances = np.repeat(level, BLOCK_TILES) + rng.normal(0, 1e-6, 41 * BLOCK_TILES)
    found = held_out_strangeness(
        distances, np.repeat(np.arange(41), BLOCK_TILES), measured_on="made"
    )
    assert found is not None
    assert (found.blocks, found.measured_on) == (41, "made")
    assert found.typical == pytest.approx(1, abs=1e-4)
    assert (level < found.limit * found.typical).mean() == pytest.approx(0.95, abs=0.02)


def test_small_blocks_do_not_count_and_few_blocks_say_nothing():
    large = np.repeat(np.arange(MIN_BLOCKS), BLOCK_TILES)
    blocks = np.concatenate([large, [77] * (BLOCK_TILES - 1)])
    distances = np.concatenate([np.ones(len(large)), np.full(BLOCK_TILES - 1, 99.0)])
    found = held_out_strangeness(distances, blocks, measured_on="made")
    assert found is not None
    assert (found.blocks, found.limit) == (MIN_BLOCKS, 1)
    fewer = blocks != 0
    assert held_out_strangeness(distances[fewer], blocks[fewer], measured_on="made") is None


# ---- in a bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder, compares=True)
    return folder


def test_a_bundle_brings_its_neighbours_back_to_the_bit(folder, tmp_path):
    bundle = load_bundle(folder)
    made = Neighbours.of(features(30))
    parts = (bundle.card, bundle.network, bundle.training_tiles())
    save_bundle(tmp_path / "b", *parts, neighbours=made)
    read = load_bundle(tmp_path / "b").neighbours
    assert torch.equal(read.distances(features(5)), made.distances(features(5)))


def test_a_missing_altered_or_strange_file_of_neighbours_is_refused(folder, tmp_path):
    card = load_bundle(folder).card
    with pytest.raises(BundleError, match=r"lacks neighbours\.safetensors: copy it again"):
        read_neighbours(tmp_path, card)
    (tmp_path / NEIGHBOURS_FILE).write_bytes(b"no tensors at all")
    with pytest.raises(BundleError, match=r"neighbours\.safetensors was altered or damaged"):
        read_neighbours(tmp_path, card)
    sha256 = hashlib.sha256(b"no tensors at all").hexdigest()
    measured = card.strangeness.model_copy(update={"neighbours_sha256": sha256})
    known = card.model_copy(update={"strangeness": measured})
    with pytest.raises(BundleError, match="holds no training tiles to compare with"):
        read_neighbours(tmp_path, known)


def test_other_weights_do_not_inherit_what_was_measured(folder, tmp_path):
    bundle = load_bundle(folder)
    card = save_bundle(tmp_path / "b", bundle.card, bundle.network, bundle.training_tiles())
    assert card.strangeness is None
    assert load_bundle(tmp_path / "b").neighbours is None


# ---- of a scene


def assess(scene, out, predictor, **given) -> Assessment:
    return assess_scene(scene, out, AssessOptions(), predictor, stem="a", **given)


def test_the_strangeness_of_a_scene_is_the_mean_over_its_judged_chips(folder, tmp_path):
    bundle = load_bundle(folder)
    predictor = Predictor(bundle, device="cpu")
    path = make_scene(tmp_path / "a.tif", hole=(slice(0, 24), slice(0, 96)))
    found = assess(path, tmp_path / "out", predictor)
    with Scene.open(path) as scene:
        grid = Grid.over(scene, bundle.card.chip, None)
        units = [unit for piece in grid.pieces(512) for unit in grid.units(piece)]
        chips = scene.read_chips([unit.windows[0] for unit in units], size_px=SIZE_PX)
    judged = chips.valid.mean(axis=(1, 2)) >= 0.5
    _, distances = predictor.logits_and_distances((chips.images[0][judged],))
    typical = bundle.card.strangeness.typical
    assert found.strangeness == pytest.approx(distances.mean() / typical, abs=2e-3)
    table = pd.concat([pd.DataFrame(part) for part in found.parts()])
    assert (table[DISTANCE_COLUMN].isna() == table["p_damaged"].isna()).all()
    assert table["p_damaged"].isna().any()


def test_an_interrupted_scene_is_as_strange_as_a_whole_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 6)
    predictor = Predictor(load_bundle(folder), device="cpu")
    path = make_scene(tmp_path / "a.tif")
    whole = assess(path, tmp_path / "whole", predictor)
    told = []
    with pytest.raises(CancelledError):
        assess(
            path, tmp_path / "cut", predictor, progress=told.append, cancelled=lambda: len(told) > 2
        )
    assert assess(path, tmp_path / "cut", predictor).strangeness == whole.strangeness
    assert whole.strangeness is not None
    assert assess(path, tmp_path / "cut", predictor).strangeness == whole.strangeness


def test_a_bundle_without_neighbours_measures_nothing(tmp_path):
    make_bundle(tmp_path / "toy")
    predictor = Predictor(load_bundle(tmp_path / "toy"), device="cpu")
    found = assess(make_scene(tmp_path / "a.tif"), tmp_path / "out", predictor)
    assert found.strangeness is None
    assert all(DISTANCE_COLUMN not in part for part in found.parts())


def test_neighbours_change_no_logit(folder):
    bundle = load_bundle(folder)
    chips = np.random.default_rng(0).integers(0, 256, (20, 3, SIZE_PX, SIZE_PX), dtype=np.uint8)
    bare = Predictor(dataclasses.replace(bundle, neighbours=None), device="cpu")
    logits, distances = bare.logits_and_distances((chips,))
    assert np.isnan(distances).all()
    assert np.array_equal(Predictor(bundle, device="cpu").logits((chips,)), logits)


@pytest.mark.parametrize(
    ("scene", "strange"),
    [
        ("scenes/houston_03_post.tif", False),
        ("scenes/houston_02_pre.tif", False),
        ("xbd/hurricane-harvey_00000003_pre_disaster.tif", True),
        ("xbd/hurricane-harvey_00000078_post_disaster.tif", True),
    ],
)
def test_the_shipped_model_finds_other_satellite_passes_strange(
    harvey_data: Path, tmp_path, scene, strange
):
    predictor = Predictor(load_bundle("harvey"), device="cpu")
    found = assess(harvey_data / scene, tmp_path / "out", predictor)
    assert is_strange(found) == strange
