"""Settings: read once, refused with the dotted path of a fault."""

import pytest

from damagenet.config import make_settings, read_settings
from damagenet.errors import ConfigError
from damagenet.options import AssessOptions
from damagenet.recipe import Choice, Recipe


def test_a_bare_name_is_a_choice_without_parameters():
    recipe = make_settings(Recipe, {"model": {"activation": "gelu"}})
    assert recipe.model.activation == Choice(name="gelu", parameters={})


def test_a_choice_takes_its_parameters_beside_its_name():
    recipe = make_settings(Recipe, {"model": {"activation": {"name": "elu", "alpha": 0.5}}})
    assert recipe.model.activation == Choice(name="elu", parameters={"alpha": 0.5})


def test_a_written_recipe_reads_back_equal():
    recipe = make_settings(Recipe, {"model": {"activation": {"name": "elu", "alpha": 0.5}}})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_exponents_that_yaml_reads_as_text_are_numbers(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("training:\n  activation_lr: 1e-4\n  optimizer: {name: adamw, lr: 1e-3}\n")
    training = read_settings(Recipe, path).training
    assert training.activation_lr == 1e-4
    assert training.optimizer.parameters == {"lr": 1e-3}


def test_overrides_win_over_the_file_and_the_last_one_over_the_first(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("training: {epochs: 3}\n")
    overrides = ["training.epochs=4", "training.epochs=5", "model.activation=silu"]
    recipe = read_settings(Recipe, path, overrides=overrides)
    assert (recipe.training.epochs, recipe.model.activation.name) == (5, "silu")


def test_an_override_of_one_parameter_keeps_the_default_choice():
    recipe = read_settings(Recipe, overrides=["training.optimizer.lr=0.5"])
    assert recipe.training.optimizer.name == Recipe().training.optimizer.name
    assert recipe.training.optimizer.parameters["lr"] == 0.5


def test_an_override_of_one_parameter_keeps_the_choice_in_the_file(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("training:\n  optimizer: sgd\n")
    recipe = read_settings(Recipe, path, overrides=["training.optimizer.lr=0.5"])
    assert recipe.training.optimizer == Choice(name="sgd", parameters={"lr": 0.5})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"training": {"epohcs": 3}}, "'training.epohcs' (did you mean 'training.epochs'?)"),
        ({"trainin": {}}, "unknown setting 'trainin' (did you mean 'training'?)"),
        ({"training": {"epochs": 0}}, "training.epochs: input should be greater than or equal"),
        ({"training": {"transfer": "magic"}}, "training.transfer: input should be 'linear_probe'"),
        ({"training": {"optimizer": {"lr": 1}}}, "training.optimizer.name is missing"),
        ({"name": "a b"}, "name: a name holds letters"),
        ({"training": {"seed": 2**32}}, "training.seed: input should be less than 4294967296"),
        (
            {"model": {"activation": {"name": "elu", "parameters": [1]}}},
            "model.activation: parameters must be `name: value` lines",
        ),
        (
            {"model": {"activation": {"name": "elu", "alpha": [1, 2]}}},
            "model.activation: parameter 'alpha' must be a number or a word",
        ),
    ],
)
def test_a_fault_is_named_by_its_dotted_path(values, sentence):
    with pytest.raises(ConfigError) as caught:
        make_settings(Recipe, values)
    assert sentence in str(caught.value)


def test_an_unknown_setting_lists_what_is_allowed():
    with pytest.raises(ConfigError, match=r"choose one of: .*early_stopping, epochs"):
        make_settings(Recipe, {"training": {"zzz": 3}})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n- b\n", "holds a list"),
        ("a: [1,\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(tmp_path, text, sentence):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_settings(Recipe, path)


def test_a_missing_file_and_a_nameless_override_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read settings file"):
        read_settings(Recipe, tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        read_settings(Recipe, overrides=["epochs"])
    with pytest.raises(ConfigError, match=r"--set training.epochs=\[: the value is not valid YAML"):
        read_settings(Recipe, overrides=["training.epochs=["])


def test_options_read_lists_written_with_commas():
    options = make_settings(AssessOptions, {"format": "csv, gpkg,csv", "bands": "3,2,1"})
    assert (options.format, options.bands) == (("csv", "gpkg"), (3, 2, 1))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"format": "shp"}, "format.0: input should be 'gpkg'"),
        ({"format": ""}, "name at least one of gpkg"),
        ({"bands": "3,2"}, "name three bands"),
        ({"bands": "0,1,2"}, "bands.0"),
        ({"device": "tpu"}, "a device is auto, cpu, cuda or cuda:N"),
        ({"min_valid": 1.5}, "min_valid"),
        ({"stride": -3}, "stride"),
        ({"buildngs": "x"}, "did you mean 'buildings'?"),
    ],
)
def test_a_wrong_option_is_refused(values, sentence):
    with pytest.raises(ConfigError) as caught:
        make_settings(AssessOptions, values)
    assert sentence in str(caught.value)
