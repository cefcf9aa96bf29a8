"""The transfer protocols: grids, the linear probe, batch norms, the search and its report."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_tiles import make_tiles
from torch import nn
from typer.testing import CliRunner

from damagenet.bundle import load_bundle
from damagenet.cli.main import app
from damagenet.config import make_settings
from damagenet.errors import ConfigError, LeakError
from damagenet.recipe import Recipe, read_recipe
from damagenet.training.checks import check_recipe
from damagenet.training.l2_search import L2_VALUES, Part, search_l2, solve
from damagenet.training.probe import TRIALS_FILE, read_trials
from damagenet.training.train import train
from damagenet.transfer import search as search_file
from damagenet.transfer.grid import GRIDS, Point, spread
from damagenet.transfer.networks import imagenet_top1, recipe_of
from damagenet.transfer.outcome import Outcome
from damagenet.transfer.report import Report, correlate, report_markdown, with_outcome
from damagenet.transfer.rows import read_rows
from damagenet.transfer.search import check_protocol, open_search, run_search
from models.batch_norms import auto_momentum, set_momentum
from models.transfer.table import find_backbone

NARROW = {"name": "compact_resnet", "width": 8}


def recipe(transfer, *, data=None, model=None, **training):
    by_protocol = {
        "linear_probe": {"optimizer": "lbfgs_grid"},
        "scratch": {
            "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
            "schedule": {"name": "cosine", "warmup": 0},
            "bn_momentum": "auto",
            "epochs": 1,
            "batch_size": 16,
        },
    }
    settings = {
        "name": "made",
        "data": {"split": "published", "allow_leak": True, **(data or {})},
        "model": {"architecture": NARROW, **(model or {})},
        "training": {"transfer": transfer, **by_protocol[transfer], **training},
    }
    return make_settings(Recipe, settings)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("source") / "out"
    return train(recipe("scratch", optimizer="adamw"), out, tiles=make_tiles(), progress=False)


@pytest.fixture(scope="module")
def probe(source, tmp_path_factory):
    """The bundle of a linear probe on the features of another network."""
    out = tmp_path_factory.mktemp("probe") / "out"
    asked = recipe("linear_probe", model={"weights": str(source.folder)})
    return train(asked, out, tiles=make_tiles(), progress=False)


def part(seed=0, count=40, width=6):
    rng = np.random.default_rng(seed)
    features = rng.normal(3, [1, 2, 5, 0.1, 1, 1][:width], (count, width))
    return Part(features=features, damaged=features[:, 0] + rng.normal(0, 1, count) > 3)


def test_the_strengths_are_45_from_1e_6_to_1e5_at_equal_ratios():
    assert len(L2_VALUES) == 45
    assert L2_VALUES[0] == pytest.approx(1e-6)
    assert L2_VALUES[-1] == pytest.approx(1e5)
    ratios = np.divide(L2_VALUES[1:], L2_VALUES[:-1])
    np.testing.assert_allclose(ratios, 10**0.25)


@pytest.mark.parametrize(
    ("protocol", "lowest", "highest", "decays", "largest"),
    [("finetune", 1e-4, 1e-1, 8, 1e-3), ("scratch", 1e-3, 1.0, 8, 10**-1.5)],
)
def test_grids_of_trainings(protocol, lowest, highest, decays, largest):
    points = GRIDS[protocol]
    lrs = sorted({point.lr for point in points})
    assert len(points) == 7 * decays
    assert lrs[0] == pytest.approx(lowest)
    assert lrs[-1] == pytest.approx(highest)
    np.testing.assert_allclose(np.divide(lrs[1:], lrs[:-1]), 10**0.5)
    found = sorted({point.decay for point in points})
    assert len(found) == decays
    assert found[-1] == pytest.approx(largest)
    assert found[0] == (0 if protocol == "finetune" else pytest.approx(1e-5))
    np.testing.assert_allclose(np.divide(found[2:], found[1:-1]), 10**0.5)


def test_a_decay_is_divided_by_the_learning_rate():
    changed = Point(lr=0.1, decay=0.001).recipe(recipe("scratch")).training.optimizer
    assert changed.parameters["lr"] == 0.1
    assert changed.parameters["weight_decay"] == pytest.approx(0.01)
    assert changed.parameters["momentum"] == 0.9


@pytest.mark.parametrize("count", [1, 3, 8, 55])
def test_a_part_of_a_grid_is_spread_over_it(count):
    points = GRIDS["finetune"]
    some = spread(points, count)
    assert len(set(some)) == count
    gaps = np.diff([points.index(point) for point in some])
    assert count == 1 or gaps.max() - gaps.min() <= 1
    assert spread(points, None) == spread(points, 56) == points


@pytest.mark.parametrize(("steps", "momentum"), [(5, 0.1), (100, 0.1), (500, 0.02)])
def test_batch_norms_follow_ten_steps_of_an_epoch_at_most_a_tenth(steps, momentum):
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    set_momentum(network, auto_momentum(steps))
    assert network[1].momentum == momentum
    with pytest.raises(ConfigError, match="the network has none: leave it out"):
        set_momentum(nn.Linear(2, 2), 0.1)


def test_a_training_sets_the_momentum_that_its_recipe_names(tmp_path, monkeypatch):
    shares = []
    monkeypatch.setattr(
        "damagenet.training.fitting.set_momentum", lambda network, share: shares.append(share)
    )
    train(recipe("scratch", bn_momentum=0.25), tmp_path, tiles=make_tiles(), progress=False)
    assert shares == [0.25]


@pytest.mark.parametrize("l2", [1e-4, 0.1, 1e5])
def test_the_slope_of_the_cost_is_zero_where_the_solver_stops(l2):
    given = part()
    found = solve(given, given.scale, l2)
    weight, bias = found.weight.numpy(), float(found.bias)
    inputs = (given.features - given.scale.mean) / given.scale.deviation
    missed = 1 / (1 + np.exp(-(inputs @ weight + bias))) - given.damaged
    assert found.converged
    slopes = inputs.T @ missed / len(missed) + l2 * weight
    np.testing.assert_allclose(slopes / np.sqrt(1 + l2), 0, atol=1e-6)
    assert missed.mean() == pytest.approx(0, abs=1e-6)
    head = found.head(given.scale)
    np.testing.assert_allclose(head.logits(given.features), inputs @ weight + bias, atol=1e-9)


def test_a_warm_start_ends_where_a_cold_one_does():
    given = part()
    cold = solve(given, given.scale, 0.01)
    warm = solve(given, given.scale, 0.01, start=solve(given, given.scale, 1.0))
    torch.testing.assert_close(warm.weight, cold.weight, atol=1e-5, rtol=0)


def test_what_is_chosen_is_solved_for_again_with_validation():
    training, validation = part(0), part(1)
    chosen = search_l2(training, validation)
    best = max(trial.accuracy for trial in chosen.trials)
    strongest = max(trial.l2 for trial in chosen.trials if trial.accuracy == best)
    assert chosen.l2 == strongest
    scale, whole = training.scale, training.joined(validation)
    again = solve(whole, scale, strongest).head(scale)
    np.testing.assert_allclose(chosen.refitted.weight, again.weight, atol=1e-4)
    alone = solve(training, scale, strongest).head(scale)
    np.testing.assert_allclose(chosen.judged.weight, alone.weight, atol=1e-4)


def test_a_solver_that_does_not_come_to_its_end_says_so(monkeypatch, caplog):
    monkeypatch.setattr("damagenet.training.l2_search.MAX_ITERATIONS", 1)
    chosen = search_l2(part(0), part(1))
    assert not all(trial.converged for trial in chosen.trials)
    assert "did not converge within 1 steps at" in caplog.text


def test_a_probe_changes_the_head_alone_and_keeps_all_scores(probe, source):
    before, after = source.network.state_dict(), probe.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}
    trials = read_trials(probe.folder.parent)
    assert [trial.l2 for trial in trials] == pytest.approx(L2_VALUES)
    assert max(trial.accuracy for trial in trials) > 0.9
    assert len(probe.training_tiles()) == 64 + 24
    assert "chosen on validation" in probe.card.training_tiles.split
    assert "had seen the training part alone" in probe.card.calibration.fitted_on


def test_a_repeated_probe_takes_its_features_again(probe, monkeypatch, tmp_path):
    out = probe.folder.parent
    kept = (out / TRIALS_FILE).read_text()
    shutil.rmtree(out / "bundle")
    monkeypatch.setattr("damagenet.training.probe.embed_tiles", None)
    again = train(probe.card.recipe, out, tiles=make_tiles(), progress=False)
    assert (out / TRIALS_FILE).read_text() == kept
    assert torch.equal(again.network.head.weight, probe.network.head.weight)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (recipe("linear_probe", data={"augmentation": "d4"}), "data.augmentation is 'd4' but"),
        (recipe("linear_probe", select_on="loss"), "training.select_on is loss, which"),
        (recipe("linear_probe", epochs=3), "training.epochs is without effect"),
        (recipe("linear_probe", bn_momentum="auto"), "training.bn_momentum is without effect"),
        (recipe("linear_probe", data={"inputs": ["post", "pre"]}), "data.inputs is for heads"),
        (
            recipe("linear_probe", optimizer={"name": "lbfgs_grid", "l2": 1}),
            "takes no parameters, got l2",
        ),
        (recipe("linear_probe"), "training.transfer linear_probe needs model.weights"),
        (recipe("scratch", optimizer="lbfgs_grid"), "solves for the head alone"),
    ],
)
def test_recipes_that_cannot_be_probed_are_refused(asked, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(asked)


def test_a_probe_in_steps_has_no_grid_and_no_batch_norms_to_set(source):
    given = {"model": {"weights": str(source.folder)}, "optimizer": "adamw"}
    with pytest.raises(ConfigError, match="whose grid of L2 strengths is solved for"):
        check_protocol(recipe("linear_probe", **given))
    with pytest.raises(ConfigError, match="in which the batch norms rest"):
        check_recipe(recipe("linear_probe", bn_momentum=0.1, **given))


def test_validation_on_ground_of_the_test_is_refused(source, tmp_path):
    tiles = make_tiles()
    manifest = tiles.manifest
    manifest.loc[64:66, ["column", "row_px"]] = manifest.loc[90:92, ["column", "row_px"]].to_numpy()
    asked = recipe("scratch", data={"allow_leak": False})
    with pytest.raises(LeakError, match="0 are byte copies of a test tile and 3 share ground"):
        open_search(asked, tmp_path, tiles)


def test_weights_that_have_seen_the_test_are_refused(source, tmp_path):
    tiles = make_tiles()
    parts = {"train_another": "test_another", "test_another": "train_another"}
    turned = tiles.manifest["published_split"].replace(parts)
    tiles.manifest["published_split"] = turned
    asked = recipe(
        "linear_probe", data={"allow_leak": False}, model={"weights": str(source.folder)}
    )
    with pytest.raises(LeakError, match="have seen the ground of 64 of 64 test tiles"):
        open_search(asked, tmp_path, tiles)


def test_a_search_goes_on_where_it_stopped_and_keeps_the_best(tmp_path, monkeypatch):
    asked = recipe("scratch")
    check_protocol(asked)
    trained = []

    def counted(one, folder, **options):
        trained.append(folder.name)
        return train(one, folder, **options)

    monkeypatch.setattr(search_file, "train", counted)
    run_search(open_search(asked, tmp_path, make_tiles(), points=1))
    outcome = run_search(open_search(asked, tmp_path, make_tiles(), points=3))
    rows = read_rows(tmp_path)
    assert len(rows) == outcome.points == 3
    assert outcome.of_points == 56
    # The middle of the grid is the middle of three as well.
    assert [name for name in trained if trained.count(name) == 1] == trained[2:4]
    assert outcome.validation == max(row.score for row in rows)
    assert outcome.steps == 4
    (kept,) = (tmp_path / "runs" / rows[0].group).iterdir()
    assert outcome.bundle == str(kept / "bundle")
    assert not list(kept.glob("*.ckpt"))
    assert load_bundle(kept / "bundle").card.recipe.training.optimizer.parameters["lr"] == (
        outcome.lr
    )
    # Nothing is left to do.
    trained.clear()
    assert run_search(open_search(asked, tmp_path, make_tiles(), points=3)) == outcome
    assert len(trained) == 1


def outcome(network="a", correct=80, top1=0.7, **given):
    known = {
        "comparison": "0" * 12,
        "protocol": "linear_probe",
        "split": "region:victoria",
        "tiles": 2000,
        "weights": "imagenet",
        "l2": 0.1,
        "points": 45,
        "of_points": 45,
        "select_on": "accuracy",
        "validation": 0.9,
        "n": 100,
        "balanced_accuracy": 0.8,
        "bundle": "runs/x",
    }
    return Outcome(network=network, correct=correct, imagenet_top1=top1, **(known | given))


def test_networks_are_backbones_or_bundles_with_their_weights(source):
    probed = recipe_of(recipe("linear_probe"), "resnet18").model
    assert (probed.architecture.name, probed.weights) == ("resnet18", "imagenet")
    assert imagenet_top1(probed) == pytest.approx(0.69758)
    assert recipe_of(recipe("scratch"), "resnet18").model.weights is None
    bundled = recipe_of(recipe("linear_probe"), str(source.folder)).model
    assert (bundled.architecture.parameters, bundled.weights) == (
        {"width": 8},
        str(source.folder),
    )
    assert imagenet_top1(bundled) is None
    with pytest.raises(ConfigError, match="'wide_resnet' has no ImageNet weights"):
        recipe_of(recipe("linear_probe"), "wide_resnet")


def test_a_report_says_log_odds_minus_their_mean_and_the_correlation():
    report = Report()
    for name, correct, top1 in [("a", 80, 0.7), ("b", 90, 0.8), ("c", 85, 0.75), ("d", 84, 0.76)]:
        report = with_outcome(report, outcome(name, correct, top1))
    text = report_markdown(report)
    odds = [math.log(p / (1 - p)) for p in (0.8, 0.9, 0.85, 0.84)]
    assert f"| 80.0 | 80.0 | {odds[0]:.2f} | {odds[0] - np.mean(odds):+.2f} |" in text
    found = report.correlations["0" * 12]
    top = [math.log(p / (1 - p)) for p in (0.7, 0.8, 0.75, 0.76)]
    assert found.r == pytest.approx(np.corrcoef(odds, top)[0, 1])
    half = 1.959964
    assert found.low == pytest.approx(math.tanh(math.atanh(found.r) - half), abs=1e-6)
    assert f"over 4 networks: {found.r:.2f} (95 % interval" in text
    again = with_outcome(report, outcome("a", 81))
    assert len(again.outcomes) == 4


def test_without_imagenet_figures_or_errors_the_report_says_so():
    few = [outcome("a"), outcome("b", top1=None), outcome("c", correct=100)]
    assert correlate(few).r is None
    report = with_outcome(with_outcome(Report(), few[1]), few[2])
    text = report_markdown(report)
    assert "not known" in text
    assert "all alike" in text
    assert "No correlation with ImageNet: 0 networks" in text
    three = correlate([outcome(str(k), 80 + k, 0.7 + k / 50) for k in range(3)])
    assert (three.low, three.note) == (None, "too few networks for an interval")


def test_torchvision_says_what_its_weights_score_and_lite0_does_not():
    assert find_backbone("resnet18").top1["IMAGENET1K_V1"] == pytest.approx(0.69758)
    assert not find_backbone("efficientnet_lite0").top1


@pytest.mark.parametrize("name", ["probe", "finetune", "scratch"])
def test_the_shipped_recipes_can_be_searched(name):
    check_protocol(read_recipe(Path(f"kornblith_{name}")))


def test_the_command_refuses_points_of_a_probe(tmp_path):

    given = ["transfer", "-c", "kornblith_probe", "--points", "3", "--out", str(tmp_path)]
    found = CliRunner().invoke(app, given)
    assert "a linear probe solves for its whole grid" in str(found.exception)
    assert not list(tmp_path.iterdir())
