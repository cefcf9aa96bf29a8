"""Dense maps: the trunk over blocks of ground, windows pooled from it, and what is said of it."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import make_bundle, make_scene
from torch import nn

from damagenet.bundle import load_bundle
from damagenet.card import Calibration, ChipGround
from damagenet.engine.assess import assess_scene
from damagenet.engine.dense_sample import Patch, fitted
from damagenet.engine.ground_block import WindowGrid
from damagenet.engine.key import AssessmentKey, InputHashes
from damagenet.errors import CancelledError, OutputError
from damagenet.inference import Predictor, fused
from damagenet.options import AssessOptions
from damagenet.recipe import Choice, ModelSettings
from data_prep.chips import Box
from models.dense import INSETS, dense_trunk, pooled
from models.factory import build_network

SIZE_PX = 128
GROUND = ChipGround(size_px=SIZE_PX, width_m=SIZE_PX, height_m=SIZE_PX)
STRIDE = 32.0
CAO_CHOE = Choice(name="cao_choe")
COLUMNS, ROWS = 36, 30
"""Cells of the scene: enough for a dense map."""


def network_of(architecture, **parameters):
    torch.manual_seed(0)
    model = ModelSettings(architecture=Choice(name=architecture, parameters=parameters))
    built = build_network(model, pixel_mean=(120,) * 3, pixel_std=(60,) * 3)
    return fused(built.eval()), model


@cache
def shared(name):
    network, model = network_of(name, **DENSE[name])
    return network, dense_trunk(network, model, SIZE_PX)


def noise(height, width):
    return torch.from_numpy(
        np.random.default_rng(1).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    )


# ---- the trunk


DENSE = {
    "compact_resnet": {"width": 8},
    "all_cnn": {"width": 8},
    "wide_resnet": {"width": 1, "depth": 10},
    "cifar_resnet": {"width": 8, "depth": 8, "stem_stride": 2},
    "resnet18": {},
}


@pytest.mark.parametrize("name", DENSE)
def test_two_adjoining_blocks_with_their_halo_are_one_big_block(name):
    _, trunk = shared(name)
    halo, step = trunk.halo_px, trunk.stride_px
    left, right = halo + 2 * step, halo + 5 * step  # where the two meet, and where they end
    image = noise(2 * halo + step, right + halo)
    with torch.inference_mode():
        whole = trunk.maps([image])
        west = trunk.maps([image[..., : left + halo]])
        east = trunk.maps([image[..., left - halo :]])
    row, first, middle, last = (side // step for side in (halo, halo, left, right))
    met = torch.cat([west[:, row, first:middle], east[:, row, first : first + 3]], dim=1)
    expected = whole[:, row, first:last]
    assert met.shape == expected.shape
    torch.testing.assert_close(met, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", DENSE)
def test_a_block_that_is_one_chip_has_the_features_of_the_chip(name):
    network, trunk = shared(name)
    chip = noise(SIZE_PX, SIZE_PX)
    with torch.inference_mode():
        side = SIZE_PX / trunk.stride_px
        means = pooled(trunk.maps([chip]), tops=[0.0], lefts=[0.0], side=side)[0, 0]
        features = network.embed(chip)[0]
    assert len(means) == len(INSETS) * len(features)
    torch.testing.assert_close(means[: len(features)], features, rtol=1e-4, atol=1e-5)


def test_a_stage_in_tiles_is_the_stage_at_once(monkeypatch):
    _, trunk = shared("compact_resnet")
    image = noise(256, 384)
    with torch.inference_mode():
        at_once = trunk.maps([image])
        monkeypatch.setattr("models.dense.TILE", 5)
        in_tiles = trunk.maps([image])
    torch.testing.assert_close(in_tiles, at_once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["cao_choe", "lite0_texture", "mocapsnet", "sresnet", "vgg11"])
def test_other_architectures_have_no_trunk_to_share(name):
    model = ModelSettings(architecture=Choice(name=name))
    assert dense_trunk(nn.Module(), model, SIZE_PX) is None


class ByWholeMap(nn.Module):
    """Looks at a whole map, as no layer of a shared trunk may."""

    def forward(self, maps):
        return maps - maps.mean(dim=(2, 3), keepdim=True)


def test_an_activation_that_looks_at_the_whole_map_is_found_out():
    network, model = network_of("compact_resnet", width=8)
    network.features.stage2[0].activation = ByWholeMap()
    assert dense_trunk(network, model, SIZE_PX) is None


def test_windows_are_pooled_by_the_area_that_they_cover():
    maps = torch.randn(3, 9, 11, generator=torch.Generator().manual_seed(2))
    tops, lefts, side = [0.0, 1.375], [2.5, 6.75], 4.0
    means = pooled(maps, tops=tops, lefts=lefts, side=side)
    fine = maps.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            for number, inset in enumerate(INSETS):
                begin = [int(16 * (at + inset * side)) for at in (top, left)]
                length = int(16 * (1 - 2 * inset) * side)
                part = fine[:, begin[0] : begin[0] + length, begin[1] : begin[1] + length]
                found = means[row, column, 3 * number : 3 * number + 3]
                torch.testing.assert_close(found, part.mean(dim=(1, 2)), rtol=1e-5, atol=1e-5)


# ---- windows, shares and the correction


def test_shares_of_windows_are_those_that_their_pixels_have():
    mask = np.random.default_rng(3).random((60, 70)) < 0.7
    grid = WindowGrid(tops=(4.0, 11.0, 20.0), lefts=(6.0, 30.0), side=32)
    found = grid.shares(mask, Box(2, 1, 72, 61))
    for row, top in enumerate((4, 11, 20)):
        for column, left in enumerate((6, 30)):
            part = mask[top - 1 : top + 31, left - 2 : left + 30]
            assert found[row, column] == part.mean()
    mask[:] = True
    mask[0, 0] = False
    assert (grid.shares(mask, Box(2, 1, 72, 61)) == 1).all()
    # Windows that begin inside a pixel, too.
    tops = tuple(4 + 0.37 * step for step in range(40))
    inside = WindowGrid(tops=tops, lefts=tuple(left + 3 for left in tops), side=32)
    assert (inside.shares(mask, Box(2, 1, 72, 61)) == 1).all()


def test_a_correction_finds_what_is_linear_in_the_means():
    rng = np.random.default_rng(4)
    means = rng.normal(size=(16, 30, 6))
    weights, shift = rng.normal(size=(6, 2)) / 4, np.array([0.5, -2.0])
    patches = [Patch(means=some, features=some[:, :2] + some @ weights + shift) for some in means]
    correction = fitted(patches)
    other = rng.normal(size=(50, 6)).astype(np.float32)
    expected = other[:, :2] + other @ weights + shift
    assert np.abs(correction(other) - expected).max() < 0.03


# ---- assessments


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(
        folder,
        chip=GROUND,
        model=ModelSettings(architecture=Choice(name="compact_resnet", parameters={"width": 8})),
        calibration=Calibration(temperature=0.1),
    )
    return Predictor(load_bundle(folder), device="cpu")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    hole = (slice(0, 300), slice(700, 1152))
    return make_scene(
        tmp_path_factory.mktemp("scenes") / "a.tif", columns=COLUMNS, rows=ROWS, hole=hole
    )


@pytest.fixture(scope="module")
def assess(predictor, scene):
    def run(folder, *, asked=predictor, cancelled=None, **options):
        chosen = AssessOptions(**({"stride": STRIDE, "clouds": "ignore"} | options))
        return assess_scene(scene, folder, chosen, asked, stem="a", cancelled=cancelled)

    return run


@pytest.fixture(scope="module")
def dense(assess, tmp_path_factory):
    return assess(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def alone(assess, tmp_path_factory):
    return assess(tmp_path_factory.mktemp("alone"), dense="off")


def records(assessment):
    return pd.concat(assessment.parts()).sort_values("row", ignore_index=True)


def test_a_dense_map_has_the_records_of_chips_by_themselves_nearly(dense, alone):
    found, expected = records(dense), records(alone)
    assert dense.dense.used
    assert alone.dense is None
    same = ["row", "unit_id", "reason", "valid_fraction", "chips", "ground_m", "geometry"]
    assert found[same].equals(expected[same])
    assert (expected.reason == "no-imagery").any()
    difference = (found.p_damaged - expected.p_damaged).abs()
    # It is near, but no copy; and what the sample said holds for all.
    assert 1e-5 < difference.mean() < 0.02
    assert difference.mean() < 3 * dense.dense.mean_difference
    assert np.corrcoef(*(t.p_damaged.dropna() for t in (found, expected)))[0, 1] > 0.9


def test_how_near_it_comes_is_said_and_kept(dense):
    kept = json.loads((dense.folder / "assessment.json").read_text())
    assert kept["dense"]["used"] is True
    assert kept["dense"]["windows"] >= 64
    (sentence,) = (text for text in dense.warnings if text.startswith("dense map"))
    assert f"by {dense.dense.mean_difference:.3f} on average" in sentence


def test_there_are_no_seams_where_blocks_meet(assess, dense, tmp_path, monkeypatch):
    whole = records(dense)
    monkeypatch.setattr("damagenet.engine.dense.BLOCK_PX", 352)
    cut = assess(tmp_path)
    assert cut.parts_written > 6
    columns = ["p_damaged", "valid_fraction"]
    assert np.nanmax(np.abs(records(cut)[columns] - whole[columns])) < 1e-4


def test_an_interrupted_dense_map_ends_in_the_same_records(assess, tmp_path, monkeypatch):
    monkeypatch.setattr("damagenet.engine.dense.BLOCK_PX", 512)
    asked = iter([False, False, True])
    with pytest.raises(CancelledError):
        assess(tmp_path / "stopped", cancelled=lambda: next(asked))
    pd.testing.assert_frame_equal(
        records(assess(tmp_path / "stopped")), records(assess(tmp_path / "whole"))
    )


def test_a_dense_map_that_is_too_far_off_is_not_made(assess, alone, tmp_path, monkeypatch):
    monkeypatch.setattr("damagenet.engine.dense_sample.LARGEST_DIFFERENCE", 1e-6)
    refused = assess(tmp_path)
    assert not refused.dense.used
    (sentence,) = (text for text in refused.warnings if "dense map" in text)
    assert sentence.startswith("no dense map was made, every chip was asked by itself: ")
    assert "on average" in sentence
    pd.testing.assert_frame_equal(records(refused), records(alone))


def test_an_architecture_without_shared_maps_says_so(assess, tmp_path, monkeypatch):
    monkeypatch.setattr("damagenet.engine.dense.FEWEST_CELLS", 100)
    make_bundle(tmp_path / "toy", chip=GROUND, model=ModelSettings(architecture=CAO_CHOE))
    asked = Predictor(load_bundle(tmp_path / "toy"), device="cpu")
    assessment = assess(tmp_path / "out", asked=asked, stride=90.0)
    (sentence,) = (text for text in assessment.warnings if "dense map" in text)
    assert "overlapping windows cannot share what cao_choe makes of them" in sentence


@pytest.mark.parametrize("options", [{"stride": 100.0}, {"stride": None}])
def test_where_chips_hardly_overlap_nothing_is_said_of_it(assess, tmp_path, options):
    assessment = assess(tmp_path, **options)
    assert assessment.dense is None
    assert not [text for text in assessment.warnings if "dense" in text]


# ---- the key


def test_only_a_dense_map_has_another_key(predictor):
    def key(**options):
        dense = options.pop("tried", False)
        chosen = AssessOptions(**options)
        return AssessmentKey.of("s" * 64, predictor.bundle.card, chosen, InputHashes(), dense=dense)

    assert "dense" not in key(stride=9).options
    assert key(stride=9, dense="off").sha256 == key(stride=9).sha256
    assert key(stride=9, tried=True).sha256 != key(stride=9).sha256
    assert key(stride=9, tried=True).differences(key(stride=9)) == ["--dense"]


def test_results_of_the_other_kind_are_not_mixed(assess, dense):
    with pytest.raises(OutputError, match="--dense"):
        assess(dense.folder.parent, dense="off")
