"""Heads that are solved for: what they learn from, what they leave out, and what they are."""

import os
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import Point
from tiny_tiles import make_tiles

from damagenet.config import make_settings
from damagenet.errors import ConfigError, DataError, EvaluationError, LeakError
from damagenet.evaluation.evaluate import EvaluationSetup, evaluate_bundle
from damagenet.evaluation.protocols import make_folds
from damagenet.evaluation.scores import calibration_limit
from damagenet.evaluation.seen_ground import learned_tiles
from damagenet.options import AssessOptions
from damagenet.recipe import Choice, ModelSettings, Recipe
from damagenet.rules import Rules
from damagenet.training.checks import check_recipe
from damagenet.training.head import Features, extract, left_out_logits, solve
from damagenet.training.head_training import _band_of_doubt
from damagenet.training.labelled_chips import open_labelled_chips
from damagenet.training.logistic import Head, Scale, fit_logistic
from damagenet.training.start import start_frozen
from damagenet.training.train import train
from data_prep.augmentation import build_augmentation
from data_prep.graded import find_scenes, read_graded_chips, scene_ground
from models.factory import build_network, build_pretrained

PIXEL_M = 0.467
SCENE_PX = 640
TEXTURE = Choice(name="lite0_texture", parameters={"depth": 1})


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return make_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def xbd(tmp_path_factory):
    """Two places, each before and after: around half of the buildings the ground turns smooth."""
    folder = tmp_path_factory.mktemp("xbd")
    for number, lon in enumerate((-95.80, -95.85)):
        make_place(folder, f"storm_0{number}", lon, seed=number)
    return folder


def make_place(folder: Path, name: str, lon: float, *, seed: int) -> None:
    west, north = Transformer.from_crs(4326, 32615, always_xy=True).transform(lon, 29.9)
    rng = np.random.default_rng(seed)
    before = rng.normal(110, 30, (3, SCENE_PX, SCENE_PX)).clip(1, 255)
    after = before.copy()
    after[:, :, : SCENE_PX // 2] = 120 + (after[:, :, : SCENE_PX // 2] - 110) / 15
    transform = Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north)
    profile = {"driver": "GTiff", "width": SCENE_PX, "height": SCENE_PX, "count": 3}
    side_m = SCENE_PX * PIXEL_M
    places = [(column, row) for column in (0.15, 0.3, 0.7, 0.85) for row in (0.2, 0.5, 0.8)]
    frame = gpd.GeoDataFrame(
        {
            "uid": [f"{name}-{n}" for n in range(len(places))],
            "subtype": ["major-damage" if column < 0.5 else "no-damage" for column, _ in places],
        },
        geometry=[
            Point(west + x * side_m, north - y * side_m).buffer(5, cap_style="square")
            for x, y in places
        ],
        crs=32615,
    )
    for when, pixels in (("post", after), ("pre", before)):
        stem = f"{name}_{when}_disaster"
        with rasterio.open(
            folder / f"{stem}.tif", "w", **profile, dtype="uint8", crs=32615, transform=transform
        ) as file:
            file.write(pixels.astype(np.uint8))
        frame.to_crs(4326).to_file(folder / f"{stem}.geojson")


def recipe_of(tiles, xbd, *, inputs=("post",), **changes):
    data = {"path": str(tiles.folder), "split": "region:victoria", "inputs": list(inputs)}
    values = {
        "name": "solved",
        "data": data | {"augmentation": "rerender", "graded": {"path": str(xbd), "renderings": 1}},
        "model": {"architecture": {"name": "lite0_texture", "depth": 1}, "weights": "imagenet"},
        "training": {"transfer": "linear_probe", "optimizer": {"name": "lbfgs", "l2": 0.01}},
    }
    for name, value in changes.items():
        section, key = name.split("__")
        values[section][key] = value
    return make_settings(Recipe, values)


def made_features(rng, *, n=120, f=5, folds=3):
    damaged = rng.random(n) < 0.4
    damaged[:2] = True, False
    plain = rng.normal(size=(n, f)) + damaged[:, None]
    return Features(
        plain=plain,
        views=plain,
        of=np.arange(n),
        damaged=damaged,
        fold=np.arange(n) % folds,
        quarter=np.arange(n) % 4,
        source=np.zeros(n, int),
        weight=np.full(n, 1 / n),
    )


# The network


def test_the_same_picture_twice_shows_no_change():
    network = build_pretrained(
        ModelSettings(architecture=TEXTURE, weights="imagenet"), inputs=("post", "pre")
    ).eval()
    picture = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    assert network.embed(picture, picture).abs().max() < 1e-5
    other = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8) // 2
    forwards, backwards = network.embed(picture, other), network.embed(other, picture)
    torch.testing.assert_close(forwards, -backwards)


@pytest.mark.parametrize(("depth", "count"), [(1, 24), (2, 64), (3, 176)])
def test_statistics_fall_where_the_ground_turns_smooth(depth, count):
    choice = Choice(name="lite0_texture", parameters={"depth": depth})
    network = build_pretrained(ModelSettings(architecture=choice, weights="imagenet")).eval()
    rough = np.random.default_rng(0).normal(110, 30, (1, 3, 128, 128)).clip(0, 255)
    rough = torch.from_numpy(rough.astype(np.float32))
    features = network.embed(torch.cat([rough, 110 + (rough - 110) / 15]))
    assert features.shape == (2, count)
    assert (features[1] < features[0]).double().mean() > 0.9


def test_an_activation_may_be_replaced_in_the_trunk():
    own = build_network(
        ModelSettings(architecture=TEXTURE), pixel_mean=(1,) * 3, pixel_std=(1,) * 3
    )
    settings_ = ModelSettings(architecture=TEXTURE, activation=Choice(name="silu"))
    other = build_network(settings_, pixel_mean=(1,) * 3, pixel_std=(1,) * 3)
    other.load_state_dict(own.state_dict())
    picture = torch.rand(1, 3, 64, 64) * 255
    assert not torch.allclose(own.eval()(picture), other.eval()(picture))


# The solver


def test_a_solved_head_is_the_minimum():
    features = made_features(np.random.default_rng(0))
    head = solve(features, 0.1)
    mean, deviation = features.plain.mean(axis=0), features.plain.std(axis=0)

    def cost(weight, bias):
        logits = features.plain @ weight + bias
        loss = np.logaddexp(0, logits) - features.damaged * logits
        return loss.mean() + 0.05 * np.sum((weight * deviation) ** 2)

    best = cost(head.weight, head.bias)
    rng = np.random.default_rng(1)
    assert mean.shape == head.weight.shape
    for _ in range(50):
        step = rng.normal(size=len(head.weight)) * 0.02
        assert cost(head.weight + step, head.bias + rng.normal() * 0.02) > best


def test_a_strong_pull_leaves_the_weights_and_frees_the_bias():
    features = made_features(np.random.default_rng(0))
    scale = Scale(mean=np.zeros(5), deviation=np.full(5, 2.0))
    towards = np.array([1.0, -1.0, 0.5, 0.0, 2.0])
    head = fit_logistic(
        features.plain, features.damaged, features.weight, scale, pull=1e6, towards=towards
    )
    np.testing.assert_allclose(head.weight, towards, atol=1e-5)
    p = 1 / (1 + np.exp(-head.logits(features.plain)))
    assert p.mean() == pytest.approx(features.damaged.mean(), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-50, 50))
def test_units_of_the_features_do_not_matter(seed, scale, offset):
    features = made_features(np.random.default_rng(seed))
    moved = replace(
        features, plain=features.plain * scale + offset, views=features.views * scale + offset
    )
    np.testing.assert_allclose(
        solve(features, 0.05).logits(features.plain),
        solve(moved, 0.05).logits(moved.plain),
        atol=2e-3,
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_verdict_from_outside_the_fold_knows_nothing_of_its_labels(seed):
    features = made_features(np.random.default_rng(seed))
    here = features.fold == 1
    turned = replace(features, damaged=np.where(here, ~features.damaged, features.damaged))
    np.testing.assert_array_equal(
        left_out_logits(features, 0.1, features.fold)[here],
        left_out_logits(turned, 0.1, features.fold)[here],
    )


def test_one_class_alone_cannot_be_solved():
    features = made_features(np.random.default_rng(0))
    with pytest.raises(EvaluationError, match="chips of both classes"):
        solve(replace(features, damaged=np.ones_like(features.damaged)), 0.1)


def test_a_head_goes_into_the_network_as_it_is():
    linear = torch.nn.Linear(3, 1)
    Head(weight=np.array([1.0, -2.0, 0.5]), bias=0.25).put_into(linear)
    assert linear(torch.tensor([[1.0, 1.0, 2.0]])).item() == pytest.approx(0.25)


# What is learned from


def test_pairs_are_two_pictures_of_one_house_and_the_undamaged_one_picture_twice(tiles, xbd):
    sources = open_labelled_chips(recipe_of(tiles, xbd, inputs=("post", "pre")), twinned(tiles))
    damaged, undamaged = (one for one in sources if not one.graded)
    assert len(damaged.pictures) == len(undamaged.pictures) == 2
    assert (damaged.pictures[0] != damaged.pictures[1]).any()
    np.testing.assert_array_equal(*undamaged.pictures)
    np.testing.assert_array_equal(damaged.pictures[1], undamaged.pictures[0])
    assert not undamaged.calibrates
    weights = {
        kind: sum(s.weight for s in sources if s.damaged[0] == kind) for kind in (True, False)
    }
    assert weights == pytest.approx({True: 1.0, False: 1.0})


def twinned(tiles):
    """Move each undamaged tile onto a damaged one of the same block, as a picture before."""
    manifest = tiles.manifest.copy()
    undamaged = manifest.index[manifest["label"] == 0]
    damaged = manifest.index[manifest["label"] == 1]
    for column in ("lon", "lat", "column", "row_px"):
        manifest.loc[undamaged, column] = manifest.loc[damaged, column].to_numpy()
    return replace(tiles, manifest=manifest)


def test_tiles_that_were_taken_only_once_make_no_pair(tiles, xbd):
    with pytest.raises(DataError, match="leaves 0 damaged and 0 undamaged tiles"):
        open_labelled_chips(recipe_of(tiles, xbd, inputs=("post", "pre")), tiles)


def test_graded_chips_are_those_of_the_two_pictures(xbd):
    scene = find_scenes(xbd)[0]
    chips = read_graded_chips(scene, ground(), ("post", "pre"))
    assert [each.shape for each in chips.pictures] == [(12, 128, 128, 3)] * 2
    rough = [picture.std(axis=(1, 2)).mean(axis=1) for picture in chips.pictures]
    assert (rough[0][chips.damaged] < 5).all()
    np.testing.assert_array_equal(rough[0][~chips.damaged], rough[1][~chips.damaged])


def ground():
    from damagenet.card import ChipGround

    return ChipGround()


def test_a_held_out_scene_is_not_read_and_a_wrong_name_is_refused(tiles, xbd):
    recipe = recipe_of(
        tiles, xbd, data__graded={"path": str(xbd), "held_out": ["storm_00_post_disaster"]}
    )
    words = " ".join(source.words for source in open_labelled_chips(recipe, tiles))
    assert "storm_01" in words
    assert "storm_00" not in words
    wrong = recipe_of(tiles, xbd, data__graded={"path": str(xbd), "held_out": ["storm_09"]})
    with pytest.raises(ConfigError, match="held_out names 'storm_09'"):
        open_labelled_chips(wrong, tiles)


def test_the_folder_of_scenes_must_be_named_somewhere(tiles, xbd, monkeypatch):
    monkeypatch.delenv("DAMAGENET_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"data.graded.path is not set, nor is \$DAMAGENET_DATA"):
        open_labelled_chips(recipe_of(tiles, xbd, data__graded={}), tiles)


def test_more_views_share_the_weight_and_the_first_stay_what_they_were(tiles, xbd):
    found = []
    for views in (1, 3):
        recipe = recipe_of(tiles, xbd, data__renderings=views)
        sources = open_labelled_chips(recipe, tiles)
        augmentation = build_augmentation(recipe.data.augmentation, 0)
        found.append(extract(start_frozen(recipe), sources, augmentation))
    one, three = found
    counts = np.bincount(three.of)
    tile = np.array([not source.graded for source in sources])[three.source]
    assert set(counts[tile]) == {3}
    assert set(counts[~tile]) == {1}
    weights = [np.bincount(each.of, each.weight) for each in found]
    np.testing.assert_allclose(*weights)
    first = len(sources[0].damaged)
    np.testing.assert_allclose(three.views[:first], one.views[:first])
    assert not np.allclose(three.views[first : 2 * first], three.views[:first])


# Training, and scoring what was left out


@pytest.fixture(scope="module")
def bundle(tiles, xbd, tmp_path_factory):
    out = tmp_path_factory.mktemp("solved")
    return train(recipe_of(tiles, xbd), out, tiles=tiles, command="damagenet train it")


def test_a_solved_bundle_says_what_it_learned_from(bundle, tiles, xbd):
    card = bundle.card
    assert card.training_tiles.non_commercial
    assert "CC BY-NC-SA 4.0" in card.licence
    assert card.training_tiles.split.startswith(
        "36 damaged and 36 undamaged tiles of split region:victoria; "
        "12 damaged and 12 undamaged buildings of storm_00, storm_01."
    )
    assert "by a head that had not seen its scene or block" in card.calibration.fitted_on
    assert card.inputs == ("post",)
    learned = learned_tiles(bundle.folder)
    assert (learned["lon"] < -95.79).sum() >= 24


def test_the_same_recipe_gives_the_same_head(bundle, tiles, xbd, tmp_path):
    again = train(recipe_of(tiles, xbd), tmp_path / "again", tiles=tiles)
    assert torch.equal(bundle.network.head.weight, again.network.head.weight)
    assert again.card.calibration.temperature == bundle.card.calibration.temperature


def test_quarters_of_scenes_and_a_prior_change_probabilities_and_no_verdict(
    bundle, tiles, xbd, tmp_path
):
    graded = {"path": str(xbd), "renderings": 1, "calibrate_on": "quarters"}
    quartered, made = (
        train(recipe_of(tiles, xbd, data__graded=graded | prior), tmp_path / name, tiles=tiles)
        for name, prior in (("own", {}), ("other", {"prior": 0.105}))
    )
    assert torch.equal(made.network.head.weight, bundle.network.head.weight)
    own, other = bundle.card.calibration, quartered.card.calibration
    assert (bundle.card.prior, made.card.prior) == (pytest.approx(24 / 36), 0.105)
    assert "had not seen its quarter of the scene or block of ground" in other.fitted_on
    assert (own.temperature, own.bias) != (other.temperature, other.bias)
    # At the share of the labels all is as without a prior.
    rules = Rules.of(made.card, AssessOptions(prior=bundle.card.prior))
    assert rules.calibration.bias == pytest.approx(quartered.card.calibration.bias)
    assert rules.threshold == pytest.approx(quartered.card.threshold)
    assert rules.uncertain_band == pytest.approx(quartered.card.uncertain_band)
    assert made.card.confidence == quartered.card.confidence
    # The margins are those of labels at their own share, so that few of them speak for 10.5 %.
    sure = Rules.of(made.card, AssessOptions(max_error=0.3))
    assert 8 < sure.labels < 30


def test_quarters_part_a_scene_and_no_building(xbd, tiles):
    sources = [one for one in open_labelled_chips(recipe_of(tiles, xbd), tiles) if one.graded]
    for source in sources:
        # Damaged stand in the west of each place, in three rows from north to south.
        east = 0 if source.damaged[0] else 1
        assert set(source.quarter) == {east, east + 2}
        for building in np.unique(source.unit):
            assert len(np.unique(source.quarter[source.unit == building])) == 1
    tiles_ = [one for one in open_labelled_chips(recipe_of(tiles, xbd), tiles) if not one.graded]
    assert set(tiles_[0].quarter) == {0, 1, 2, 3}


def test_a_bundle_is_not_scored_on_the_scenes_that_it_learned_from(bundle, tiles, xbd, tmp_path):
    setup = EvaluationSetup(protocol="post-event", data=tiles.folder, xbd=xbd, out=tmp_path)
    with pytest.raises(LeakError, match="xBD buildings"):
        evaluate_bundle(str(bundle.folder), setup)


def test_post_event_leaves_out_one_graded_scene_at_a_time(tiles, xbd):
    scenes = [scene for scene in find_scenes(xbd) if scene.after]
    folds = make_folds(
        "post-event",
        recipe_of(tiles, xbd),
        tiles,
        scene_grounds=[scene_ground(scene) for scene in scenes],
        scene_names=[scene.name for scene in scenes],
    )
    assert [fold.name for fold in folds] == [scene.name for scene in scenes]
    held = [fold.recipe.data.graded.held_out for fold in folds]
    assert held == [(scene.name,) for scene in scenes]


def test_a_band_of_doubt_never_holds_most_verdicts():
    rng = np.random.default_rng(0)
    labels = (rng.random(600) < 0.3).astype(np.int64)
    good = np.clip(0.5 + (labels - 0.5) * 0.6 + rng.normal(0, 0.2, 600), 0.01, 0.99)
    low, high = _band_of_doubt(good, labels, 0.5)
    standing = (good <= low) | (good >= high)
    assert low < 0.5 < high
    assert np.mean(((good >= 0.5) != (labels == 1))[standing]) <= 0.05
    # Where far verdicts are wrong as often as near ones, no band helps.
    noise = rng.random(600)
    low, high = _band_of_doubt(noise, labels, 0.5)
    assert np.mean((noise > low) & (noise < high)) <= 0.5


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__transfer": "finetune"}, "solves for the head alone"),
        ({"training__epochs": 3}, "training.epochs is without effect"),
        ({"training__optimizer": {"name": "lbfgs", "l2": 0}}, "l2 must be above 0, got 0"),
        ({"training__optimizer": {"name": "lbfgs", "lr": 1}}, "has no parameter 'lr'"),
        ({"training__optimizer": "adamw"}, "data.graded is for heads that are solved for"),
        (
            {"data__renderings": 2, "data__augmentation": "none"},
            "data.renderings is 2 but data.augmentation is none",
        ),
        (
            {"data__renderings": 2, "data__graded": None, "training__optimizer": "adamw"},
            "data.renderings is for heads that are solved for",
        ),
        ({"data__balance": "region"}, "data.balance is region but training.optimizer 'lbfgs'"),
        ({"data__augmentation": "domain"}, "'domain', which needs a tile of the other class"),
        (
            {"model__architecture": {"name": "lite0_texture", "depth": 4}},
            r"depth must be .* 1\.\.3",
        ),
    ],
)
def test_a_recipe_that_cannot_be_solved_is_refused(changes, message, tiles, xbd):
    with pytest.raises(ConfigError, match=message):
        check_recipe(recipe_of(tiles, xbd, **changes))


def test_a_chip_of_other_pictures_is_refused(tiles, xbd):
    with pytest.raises(ConfigError, match=r"\[post\] or \[post, pre\]"):
        recipe_of(tiles, xbd, inputs=("pre",))


# What the parts promise


def test_two_pictures_are_turned_alike_and_rendered_apart():
    picture = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    turned = build_augmentation(Choice(name="d4"), 0)
    for _ in range(8):
        one, other = turned.pictures((picture, 255 - picture))
        np.testing.assert_array_equal(one, 255 - other)
    rendered = build_augmentation(Choice(name="rerender", parameters={"shift": 0.0}), 0)
    one, other = rendered.pictures((picture, picture))
    assert (one != other).any()
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.8


def test_calibrated_probabilities_stay_below_the_limit_as_often_as_said():
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 1.5, 300)
    limit = calibration_limit(p)
    bins = np.searchsorted(np.quantile(p, np.linspace(0, 1, 16)[1:-1]), p, side="right")
    errors = [np.abs(np.bincount(bins, p - (rng.random(300) < p))).sum() / 300 for _ in range(1000)]
    assert 0.92 < np.mean(np.array(errors) <= limit) < 0.98


@pytest.mark.skipif(
    "DAMAGENET_DATA" not in os.environ, reason="DAMAGENET_DATA does not name the real data"
)
def test_the_real_scenes_give_their_graded_buildings():
    scenes = [s for s in find_scenes(Path(os.environ["DAMAGENET_DATA"]) / "xbd") if s.after]
    chips = [read_graded_chips(scene, ground(), ("post", "pre")) for scene in scenes]
    counts = [len(np.unique(one.building[one.damaged])) for one in chips]
    assert counts == [12, 0, 3, 55]
    assert [len(np.unique(one.building[~one.damaged])) for one in chips] == [25, 225, 135, 0]
