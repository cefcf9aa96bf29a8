"""What a study is made of: settings, the list of runs, the choice of a rate, the budget."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_studies import finish, make_row, make_study

from damagenet.config import make_settings
from damagenet.errors import ConfigError, LeakError
from damagenet.study.budget import RunBudget, budget_lines, duration, progress
from damagenet.study.checks import check_study, chosen_labels
from damagenet.study.plan import (
    Run,
    chosen_lr,
    planned_runs,
    recipe_of,
    run_count,
    run_key,
    tuning_runs,
)
from damagenet.study.settings import Comparison, StudySettings, read_study
from models.factory import build_network

SHIPPED = Path("study_activations")


def first_run(study, **changes):
    run = {"variant": study.study.compared[0], "split": "published", "seed": 0, "lr": 1e-3}
    return Run(**run | changes)


def names(study, rows):
    labels = [variant.label for variant in study.study.compared]
    return [
        f"{run.variant.label} {run.split[:3]} {run.seed} {run.lr:g}"
        for key, run in planned_runs(study, rows, labels).items()
        if key not in rows
    ]


def activation(**values):
    """Return the variant that an activation in YAML stands for."""
    name = values.get("label", values["name"])
    return make_settings(Comparison, {"activations": [values], "baseline": name}).compared[0]


def with_validation(study, scores):
    variant = study.study.compared[0]
    runs = tuning_runs(study, variant)
    rows = [
        make_row(study, run, score=None if score is None else 0.5, validation=score)
        for run, score in zip(runs, scores, strict=False)
    ]
    return chosen_lr(study, variant, {row.key: row for row in rows})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": {"activation": ["relu"]}}, r"unknown setting 'study.activation' \(did you mean"),
        ({"study": {"activations": ["relu", "rleu"]}}, r"study.activations \(rleu\).*'rleu'"),
        ({"study": {"activations": []}}, "study.variants is empty"),
        ({"study": {"activations": ["relu", "relu"]}}, "two activations are called 'relu'"),
        ({"study": {"activations": ["silu", "mish"]}}, "baseline 'relu' is none of the act"),
        ({"study": {"activations": [{"alpha": 1}]}}, "study.activations.0"),
        ({"study": {"splits": ["publishd"]}}, "study.splits: unknown split 'publishd'"),
        ({"study": {"lr_split": "region:dallas"}}, "study.lr_split: unknown region 'dallas'"),
        ({"study": {"seeds": [1, 1]}}, "study.seeds: 1 is named twice"),
        ({"study": {"seeds": [-1]}}, "study.seeds: a seed lies within 0.."),
        ({"study": {"learning_rates": [0]}}, "study.learning_rates: a learning rate is above 0"),
        ({"study": {"seeds": []}}, "study.seeds"),
        ({"training": {"seed": 3}}, "training.seed is varied by the study"),
        ({"training": {"optimizer": {"name": "adamw", "lr": 1}}}, "training.optimizer.lr is var"),
        ({"training": {"optimizer": "adan"}}, "training.optimizer: unknown optimizer 'adan'"),
        ({"data": {"split": "published"}}, "data.split is varied by the study"),
        ({"model": {"activation": "relu"}}, "model.activation is varied by the study"),
        ({"model": {"architecture": "vgg99"}}, "model.architecture: unknown architecture"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_dotted_path(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_study(make_study(**changes))


def test_a_leaking_split_is_asked_for_by_name():
    with pytest.raises(LeakError, match=r"study\.splits: 'published' shares ground"):
        check_study(make_study(data={"allow_leak": False}))
    check_study(make_study(data={"allow_leak": False}, study={"splits": ["region:victoria"]}))


def test_only_the_published_split_may_leak():
    study = make_study()
    assert recipe_of(study, first_run(study)).data.allow_leak
    assert not recipe_of(study, first_run(study, split="region:victoria")).data.allow_leak


def test_an_unknown_name_behind_only_is_refused_with_the_choices():
    assert chosen_labels(make_study(), ["silu"]) == ("silu",)
    with pytest.raises(ConfigError, match="'mish' is no variant of this study; choose from: re"):
        chosen_labels(make_study(), ["mish"])


def test_an_activation_is_a_name_or_a_name_with_parameters_and_a_label():
    plain = activation(name="leaky_relu", negative_slope=0.2)
    named = activation(name="elu", label="steep", b=True, alpha=2.0)
    assert (plain.label, plain.told) == ("leaky_relu", "leaky_relu(negative_slope=0.2)")
    assert (named.label, named.told) == ("steep", "elu(alpha=2.0, b=True)")
    study = make_study()
    assert make_settings(StudySettings, study.model_dump()) == study


def test_the_shipped_study_can_be_run_and_is_found_by_name():
    study = read_study(SHIPPED)
    check_study(study)
    assert {"relu", "silu", "mish", "pvlu", "or_ail", "rowdy"} <= {
        variant.label for variant in study.study.compared
    }
    assert read_study(Path("configs/study_activations.yaml")) == study
    assert read_study(SHIPPED, overrides=["study.seeds=[7]"]).study.seeds == (7,)
    with pytest.raises(ConfigError, match="no study nothing: give a YAML file, or one of"):
        read_study(Path("nothing"))


def test_activations_of_the_shipped_study_start_from_the_same_weights():
    study = read_study(SHIPPED)
    assert study.study.compared[0].label == "relu"
    expected = None
    for variant in study.study.compared:
        torch.manual_seed(5)
        recipe = recipe_of(study, first_run(study, variant=variant))
        network = build_network(recipe.model, pixel_mean=(90, 90, 90), pixel_std=(40, 40, 40))
        state = network.state_dict()
        started = {name: value for name, value in state.items() if value.dim() > 1}
        expected = expected or started
        alike = {name for name in expected if started[name].shape == expected[name].shape}
        if len(alike) == len(expected):  # otherwise its layers are wider
            assert all(torch.equal(started[name], expected[name]) for name in expected)
        assert len(alike) == len(expected) or variant.label == "or_ail"


def test_a_study_begins_with_the_rates_and_goes_on_seed_by_seed_the_baseline_first():
    study = make_study(study={"activations": ["silu", "relu"]})
    rates = [f"{name} pub 0 {lr}" for name in ("relu", "silu") for lr in ("0.001", "0.01")]
    assert names(study, {}) == rates
    tuned = finish(study, lambda run: run.lr, most=4)
    assert names(study, tuned) == [
        "relu reg 0 0.01",
        "silu reg 0 0.01",
        "relu pub 1 0.01",
        "relu reg 1 0.01",
        "silu pub 1 0.01",
        "silu reg 1 0.01",
    ]


def test_an_activation_that_has_its_rate_need_not_wait_for_the_others():
    study = make_study()
    assert names(study, finish(study, lambda run: run.lr, most=3))[:2] == [
        "silu pub 0 0.01",
        "relu reg 0 0.01",
    ]


@settings(max_examples=30, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True),
    lr_seed=st.integers(0, 4),
    lr_split=st.sampled_from(["published", "region:victoria", "deduplicated", None]),
    rates=st.lists(st.sampled_from([1e-4, 1e-3, 1e-2]), min_size=1, max_size=3, unique=True),
)
def test_the_announced_number_of_runs_is_what_is_done(seeds, lr_seed, lr_split, rates):
    study = make_study(
        study={
            "seeds": seeds,
            "lr_seed": lr_seed,
            "lr_split": lr_split,
            "learning_rates": rates,
            "activations": ["relu", "silu", "mish"],
        }
    )
    rows = finish(study, lambda run: 0.5)
    assert len(rows) == run_count(study, {}, ["relu", "silu", "mish"])


def test_no_seed_is_tried_where_every_rate_has_failed():
    study = make_study()
    rows = finish(study, lambda run: None if run.variant.label == "silu" else 0.5)
    assert [row.variant for row in rows.values()].count("silu") == 2
    assert len(rows) == run_count(study, rows, ["relu", "silu"]) == 7


def test_the_best_rate_by_validation_is_chosen():
    three = make_study(study={"learning_rates": [1e-2, 1e-4, 1e-3]})
    assert with_validation(three, [0.7, 0.8, 0.9]) == 1e-2
    assert with_validation(three, [0.9, 0.8, 0.7]) == 1e-4


def test_of_equal_rates_the_one_nearest_the_middle_is_chosen_then_the_lower():
    three = make_study(study={"learning_rates": [1e-4, 1e-3, 1e-2]})
    assert with_validation(three, [0.9, 0.9, 0.9]) == 1e-3
    assert with_validation(three, [0.9, 0.8, 0.9]) == 1e-4


def test_a_failed_rate_is_passed_over_and_a_missing_one_is_waited_for():
    two = make_study()
    assert with_validation(two, [0.6, None]) == 1e-3
    assert with_validation(two, [None, None]) is None
    assert with_validation(two, [0.6]) is None


def test_a_loss_is_better_the_lower_it_is():
    assert with_validation(make_study(training={"select_on": "loss"}), [0.3, 0.2]) == 1e-2


def test_the_key_of_a_run_does_not_change_from_version_to_version():
    # Rows in the repository are found by these keys.
    study = make_study()
    silu = first_run(study, variant=study.study.compared[1], split="region:victoria", lr=0.01)
    assert run_key(study, first_run(study)) == "db416afa05bc7ccc"
    assert run_key(study, silu) == "f856fb946a3bfbd2"


def test_the_key_holds_what_shapes_the_scores_and_nothing_else():
    study = make_study()
    key = run_key(study, first_run(study))
    same = [
        make_study(data={"path": "elsewhere"}),
        make_study(study={"seeds": [0, 1, 2], "activations": ["relu", "mish"]}),
        make_study(training={"batch_size": 16, "transfer": "scratch"}),
    ]
    relabelled = activation(name="relu", label="my relu")
    assert {run_key(other, first_run(other)) for other in same} == {key}
    assert run_key(study, first_run(study, variant=relabelled)) == key
    others = [
        first_run(study, seed=1),
        first_run(study, lr=2e-3),
        first_run(study, split="deduplicated"),
        first_run(study, variant=activation(name="silu")),
    ]
    changed = [
        make_study(training={"epochs": 3}),
        make_study(data={"limit": 20}),
        make_study(model={"init": "he"}),
        make_study(training={"optimizer": "adam"}),
    ]
    keys = {run_key(study, run) for run in others}
    keys |= {run_key(other, first_run(other)) for other in changed}
    assert len(keys - {key}) == 8


def test_the_budget_says_how_much_is_ahead():
    study = make_study()
    rows = finish(study, lambda run: 0.5, most=4)
    labels = ["relu", "silu"]
    usual = RunBudget(tiles=50, epochs=2, batch=16, steps=6)
    budgets = dict.fromkeys(labels, usual)
    ahead = progress(study, rows, labels)
    said = " ".join(budget_lines(study, labels, budgets, ahead, processes=2))
    assert "2 variants, 2 learning rates on seed 0 of published, then 2 seeds on" in said
    assert "10 runs, 4 done, 6 left" in said
    assert "50 tiles x 2 epochs in batches of 16 = 6 steps" in said
    assert "the same budget for all" in said
    assert "about 3 min left, 2 at a time" in said
    budgets["silu"] = RunBudget(tiles=50, epochs=4, batch=16, steps=12)
    fresh = budget_lines(study, labels, budgets, progress(study, {}, labels), processes=1)
    assert "known after the first run" in fresh[-1]
    assert "but silu: 50 tiles x 4 epochs in batches of 16 = 12 steps, 2 times the budget" in fresh
    assert [duration(20), duration(100), duration(7500)] == ["20 s", "2 min", "2 h 05 min"]
