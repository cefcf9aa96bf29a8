"""The results of a study inside a page written by hand, and the studies that are shipped so."""

from pathlib import Path

import pytest
import yaml
from made_studies import finish, make_study

from damagenet.errors import ConfigError
from damagenet.recipe import find_shipped, read_recipe
from damagenet.study.checks import check_study
from damagenet.study.embed import read_page, results_table, write_into
from damagenet.study.judging import summarise
from damagenet.study.plan import any_run, recipe_of
from damagenet.study.settings import read_study
from damagenet.training.checks import check_recipe

PAGE = "# By hand\n\n<!-- study harvey -->\nold\n<!-- end of study harvey -->\n\nBy hand too.\n"
METHODS = Path(__file__).parent.parent / "docs" / "methods.md"
STUDIES = ("study_methods", "harvey_three")


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


@pytest.mark.parametrize("most", [0, 5, None])
def test_none_some_or_all_results_come_between_the_marks(page, most):
    study = make_study(study={"learning_rates": [1e-3], "seeds": [0, 1, 2]})
    rows = finish(study, lambda run: 0.8 + 0.01 * run.seed, most=most)
    summary = summarise(study, rows.values())
    write_into(page, summary)
    text = page.read_text()
    assert text.startswith("# By hand\n\n<!-- study harvey -->\n")
    assert text.endswith("<!-- end of study harvey -->\n\nBy hand too.\n")
    assert "old" not in text
    assert ("| silu | silu | - | - | - | - | 0 / 0 | - | - | 1 |" in text) == (most == 0)
    assert (f"Unfinished: {most} of 12 runs." in text) == (most is not None)
    assert ("| 81.00 (78.52 to 83.48) |" in text) == (most is None)
    write_into(page, summary)
    assert page.read_text() == text


def test_the_results_stand_in_the_order_of_the_settings():
    study = make_study(study={"learning_rates": [1e-3], "seeds": [0, 1, 2, 3, 4]})
    rows = finish(study, lambda run: 0.9 if run.variant.label == "silu" else 0.8)
    table = results_table(summarise(study, rows.values()))
    assert [cells[0] for cells in table.rows] == ["relu", "silu"]
    assert table.rows[1][3].endswith("better")
    assert table.headings[2:4] == ("published: accuracy %", "published: minus relu, points")


@pytest.mark.parametrize("missing", ["<!-- study harvey -->\n", "<!-- end of study harvey -->\n"])
def test_a_page_without_marks_is_refused_and_left_alone(page, missing):
    page.write_text(PAGE.replace(missing, ""))
    with pytest.raises(ConfigError, match="put the lines <!-- study harvey --> and <!-- end of"):
        read_page(page, "harvey")
    with pytest.raises(ConfigError, match="cannot read it"):
        read_page(page.parent / "gone.md", "harvey")


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_can_be_run_and_has_its_place_in_the_page(name):
    study = read_study(Path(name))
    check_study(study)
    read_page(METHODS, study.name)


def test_the_three_networks_are_those_of_the_recipes_with_all_options_on():
    study = read_study(Path("configs/harvey_three/study.yaml"))
    labels = [each.label for each in study.study.compared]
    assert len(labels) == 15
    for name in ("plain", "deep", "transfer"):
        options = ("", " + augmentation", " + dropout", " + class weights", " + all")
        assert [label for label in labels if label.startswith(name)] == [
            f"{name}{option}" for option in options
        ]
        full = next(each for each in study.study.compared if each.label == f"{name} + all")
        tried = recipe_of(study, any_run(study, full))
        shipped = read_recipe(Path(f"harvey_three/{name}"))
        check_recipe(shipped)
        assert shipped.model == tried.model
        assert shipped.data == tried.data.model_copy(update={"limit": None})
        same = tried.training.model_copy(update={"epochs": shipped.training.epochs})
        assert shipped.training == same


def test_what_is_shipped_is_found_by_its_name_and_not_mixed_up():
    assert find_shipped(Path("harvey"), studies=False).name == "harvey.yaml"
    assert find_shipped(Path("configs/harvey_three"), studies=True).name == "study.yaml"
    with pytest.raises(ConfigError, match="no recipe harvey_three: give a YAML file, or one of"):
        find_shipped(Path("harvey_three"), studies=False)
    with pytest.raises(ConfigError, match=r"no study harvey: .*harvey_three, study_activations"):
        find_shipped(Path("harvey"), studies=True)


def test_the_methods_that_wait_are_variants_in_waiting():
    text = find_shipped(Path("study_methods"), studies=True).read_text()
    whole = yaml.safe_load(text.replace("    # - {label", "    - {label"))
    labels = [each["label"] for each in whole["study"]["variants"]]
    assert len(labels) == len(set(labels))
    assert {each.get("against", labels[0]) for each in whole["study"]["variants"]} <= set(labels)
