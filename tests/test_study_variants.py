"""Studies over any setting: what a variant may set, its learning rate, its budget, its base."""

import csv
from pathlib import Path

import pytest
from made_studies import finish, make_study, shifted
from tiny_tiles import make_tiles

from damagenet.config import with_changes
from damagenet.errors import ConfigError
from damagenet.recipe import Choice, Recipe
from damagenet.study.budget import run_budgets
from damagenet.study.checks import check_study
from damagenet.study.judging import summarise
from damagenet.study.plan import (
    Run,
    any_run,
    chosen_lr,
    rates_of,
    recipe_of,
    run_count,
    run_key,
    tuning_runs,
)
from damagenet.study.remarks import headline, remarks
from damagenet.study.report import summary_markdown
from damagenet.study.rows import StudyFolder
from damagenet.study.settings import read_study
from damagenet.study.tables import cost_table, split_table, tuning_table

ROOT = Path(__file__).parent.parent
PLAIN = {"label": "plain"}
WIDE = {"label": "wide", "set": {"model.architecture": {"name": "compact_resnet", "width": 16}}}
SGD = {"label": "sgd", "set": {"training.optimizer": {"name": "sgd", "lr": "3e-2"}}}
LONG = {"label": "long", "set": {"training.epochs": 4}}


def make_variants(*variants, **study):
    changes = {"activations": [], "variants": list(variants), "baseline": "plain"}
    return make_study(study=changes | study)


def variant(study, label):
    return next(each for each in study.study.compared if each.label == label)


def recipe(study, label):
    return recipe_of(study, any_run(study, variant(study, label)))


def test_a_variant_changes_what_it_names_and_nothing_else():
    study = make_variants(PLAIN, WIDE, SGD)
    plain, wide, sgd = (recipe(study, label) for label in ("plain", "wide", "sgd"))
    assert wide.model.architecture.parameters == {"width": 16}
    assert wide.training == plain.training
    assert sgd.training.optimizer == Choice(name="sgd", parameters={"lr": 0.03})
    assert (sgd.model, sgd.data) == (plain.model, plain.data)


def test_one_parameter_of_a_choice_is_set_by_its_dotted_name():
    study = make_variants(PLAIN, {"label": "narrow", "set": {"model.architecture.dropout": 0.5}})
    assert recipe(study, "narrow").model.architecture == Choice(
        name="compact_resnet", parameters={"width": 8, "dropout": 0.5}
    )


def test_an_activation_is_the_variant_that_sets_it():
    as_activation = make_study()
    as_variant = make_variants(
        PLAIN, {"label": "silu", "set": {"model.activation": "silu"}}, {"label": "other"}
    )
    run = {"split": "published", "seed": 0, "lr": 1e-3}
    (old, new) = (
        run_key(study, Run(variant=variant(study, "silu"), **run))
        for study in (as_activation, as_variant)
    )
    assert old == new


def test_every_finished_row_of_the_repository_is_found_by_its_key():
    study = read_study(Path("study_activations"))
    folder = ROOT / "docs" / "studies" / "activations"
    rows = StudyFolder(out=folder, work=folder).rows()
    assert len(rows) >= 43
    for row in rows:
        run = Run(variant=variant(study, row.variant), split=row.split, seed=row.seed, lr=row.lr)
        assert (run_key(study, run), run.variant.told) == (row.key, row.settings)


def test_files_of_before_variants_are_read_by_the_old_names_of_their_columns(tmp_path):
    lines = (ROOT / "docs" / "studies" / "activations" / "runs.csv").read_text().splitlines()
    heads = lines[0].replace("variant,settings", "activation,function")
    (tmp_path / "runs.csv").write_text("\n".join([heads, *lines[1:]]) + "\n")
    folder = StudyFolder(out=tmp_path, work=tmp_path)
    rows = folder.rows()
    folder.add(rows[0])
    with (tmp_path / "runs.csv").open(newline="") as stream:
        assert {"variant", "settings"} <= set(next(csv.reader(stream)))
    assert folder.rows() == rows


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (
            [PLAIN, {"label": "x", "set": {"training.epohcs": 3}}],
            r"\(x\): .*'training.epohcs' \(did",
        ),
        (
            [PLAIN, {"label": "x", "set": {"training.epochs": 0}}],
            r"variants \(x\): set: training.ep",
        ),
        ([PLAIN, {"label": "x", "set": {"training": {}}}], "'training' is no setting of a recipe"),
        ([PLAIN, {"label": "x", "set": {"study.seeds": [1]}}], "'study.seeds' is no setting"),
        (
            [PLAIN, {"label": "x", "set": {"data.split": "published"}}],
            "same for all: set study.spl",
        ),
        ([PLAIN, {"label": "x", "set": {"training.seed": 3}}], "same for all: set study.seeds"),
        ([PLAIN, {"label": "x", "sets": {}}], r"unknown setting 'study.variants.1.sets'"),
        ([PLAIN, PLAIN], "two variants are called 'plain'"),
        ([WIDE], "baseline 'plain' is none of the variants"),
        (
            [PLAIN, {**WIDE, "against": "wider"}],
            "against of 'wide' 'wider' is none of the variants",
        ),
        ([PLAIN, {**WIDE, "against": "wide"}], "'wide' is compared with itself"),
        ([PLAIN, {"label": "same"}], "'plain' and 'same' are the same training"),
        ([PLAIN, {**SGD, "learning_rates": [1e-3]}], "learning_rates and an lr of the optimizer"),
        ([PLAIN, {"label": "x", "set": {"training.optimizer": "lbfgs"}}], "takes no steps"),
    ],
)
def test_a_wrong_variant_is_refused_by_its_label(variants, message):
    with pytest.raises(ConfigError, match=message):
        check_study(make_variants(*variants))


def test_all_refused_variants_are_listed_at_once():
    bad = {"label": "bad", "set": {"model.architecture": "vgg99"}}
    worse = {"label": "worse", "set": {"training.optimizer": {"name": "adan"}}}
    with pytest.raises(ConfigError) as refusal:
        check_study(make_variants(PLAIN, bad, WIDE, worse))
    first, second = str(refusal.value).splitlines()
    assert first.startswith("study.variants (bad): model.architecture: unknown architecture")
    assert second.startswith("study.variants (worse): training.optimizer: unknown optimizer")


def test_what_is_wrong_in_all_is_said_once_and_of_no_variant():
    study = make_variants(PLAIN, WIDE)
    study = with_changes(study, {"training.schedule": "waltz"})
    with pytest.raises(ConfigError, match=r"^training.schedule: unknown schedule 'waltz'[^\n]*$"):
        check_study(study)


def test_activations_and_variants_exclude_each_other():
    with pytest.raises(ConfigError, match="activations and variants at once"):
        make_study(study={"variants": [PLAIN], "baseline": "plain"})


def test_a_rate_is_the_variants_own_or_what_its_optimizer_says_or_the_studys():
    listed = {"label": "listed", "set": {"data.augmentation": "none"}, "learning_rates": [2, 1]}
    study = make_variants(PLAIN, SGD, listed)
    assert rates_of(study, variant(study, "plain")) == (1e-3, 1e-2)
    assert rates_of(study, variant(study, "sgd")) == (0.03,)
    assert rates_of(study, variant(study, "listed")) == (1, 2)


def test_looking_at_recipes_changes_no_variant():
    tuned = {"label": "tuned", "set": {"training.optimizer": {"name": "sgd"}}}
    study = make_variants(PLAIN, SGD, tuned)
    before = study.model_dump_json()
    check_study(study)
    for each in study.study.compared:
        recipe_of(study, Run(variant=each, split="published", seed=1, lr=0.7))
    assert study.model_dump_json() == before
    assert rates_of(study, variant(study, "sgd")) == (0.03,)
    assert rates_of(study, variant(study, "tuned")) == (1e-3, 1e-2)


def test_without_rates_each_optimizer_keeps_its_own():
    study = make_variants(PLAIN, WIDE, learning_rates=[])
    with pytest.raises(ConfigError, match="no learning rate for optimizer 'adamw': give it an lr"):
        check_study(study)
    study = with_changes(study, {"training.optimizer.lr": 5e-3})
    check_study(study)
    assert [rates_of(study, each) for each in study.study.compared] == [(5e-3,), (5e-3,)]


def test_a_single_rate_is_taken_without_a_run_to_choose_it():
    study = make_variants(PLAIN, SGD)
    sgd = variant(study, "sgd")
    assert tuning_runs(study, sgd) == []
    assert chosen_lr(study, sgd, {}) == 0.03
    rows = finish(study, lambda run: 0.5)
    assert len(rows) == run_count(study, {}, ["plain", "sgd"]) == 5 + 4
    tuning = tuning_table(summarise(study, rows.values()))
    assert [cells[0] for cells in tuning.rows] == ["plain"]
    fixed = make_variants(PLAIN, WIDE, learning_rates=[1e-3])
    summary = summarise(fixed, finish(fixed, lambda run: 0.5).values())
    assert tuning_table(summary) is None
    assert "Learning rates were given, not chosen by validation." in remarks(summary)


def test_another_budget_is_shown_and_the_same_one_is_said(tmp_path):
    study = make_variants(PLAIN, LONG, {"label": "few", "set": {"data.limit": 24}}, WIDE)
    budgets = run_budgets(study, make_tiles(tmp_path))
    relative = {label: each.passes / budgets["plain"].passes for label, each in budgets.items()}
    assert relative == {"plain": 1, "long": 2, "few": 0.5, "wide": 1}
    summary = summarise(study, finish(study, lambda run: 0.5).values())
    table = cost_table(summary)
    place = table.headings.index("budget")
    assert [cells[place] for cells in table.rows] == ["1", "2", "1", "1"]
    assert any("but another budget for long (2 times)" in line for line in remarks(summary))
    same = make_variants(PLAIN, WIDE)
    equal = summarise(same, finish(same, lambda run: 0.5).values())
    assert "budget" not in cost_table(equal).headings
    assert any("; the same budget for all." in line for line in remarks(equal))
    planned = {cost.variant: cost.budget for cost in summarise(study, []).costs}
    assert planned == {"plain": 1, "long": 2, "few": None, "wide": 1}


def test_a_variant_may_be_compared_with_another_one_than_the_baseline():
    study = make_variants(
        PLAIN, WIDE, {**SGD, "against": "wide"}, LONG, seeds=[0, 1, 2, 3, 4], learning_rates=[1e-3]
    )
    shifts = {"plain": 0.0, "wide": 0.02, "sgd": 0.05, "long": -0.03}
    summary = summarise(study, finish(study, shifted(shifts)).values())
    split = summary.splits[0]
    found = {one.variant: one for one in split.outcomes}
    assert found["sgd"].against == "wide"
    assert found["sgd"].difference.mean == pytest.approx(0.03)
    assert found["long"].difference.mean == pytest.approx(-0.03)
    table = split_table(split, "plain")
    assert table.headings[2:4] == ("minus its own base, points", "against")
    assert {cells[0]: cells[3] for cells in table.rows} == {
        "plain": "-",
        "wide": "plain",
        "sgd": "wide",
        "long": "plain",
    }
    assert headline(split, "plain") == (
        "Better than wide: sgd; better than plain: wide; worse than plain: long."
    )
    assert "time / base" in summary_markdown(summary)


def test_changes_by_dotted_name_keep_the_rest_as_it_was_given():
    recipe = Recipe()
    changed = with_changes(recipe, {"training.epochs": 3, "training.optimizer.lr": 0.5})
    assert changed.training.optimizer.parameters == {"lr": 0.5, "weight_decay": 0.05}
    assert changed.training.model_fields_set == {"epochs", "optimizer"}
    assert with_changes(changed, {}) == changed
    with pytest.raises(
        ConfigError, match=r"set: unknown setting 'model.init.gain.x'|set: model.in"
    ):
        with_changes(recipe, {"model.init.gain": [1]}, source="set")


def test_a_training_in_rounds_is_counted_round_by_round():
    rounds = {"label": "rounds", "set": {"training.reinit": {"name": "layerwise", "rounds": 4}}}
    study = make_variants(PLAIN, rounds)
    check_study(study)
    assert {cost.variant: cost.budget for cost in summarise(study, []).costs} == {
        "plain": 1,
        "rounds": 4,
    }
