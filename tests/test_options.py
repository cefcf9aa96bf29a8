"""The command line, YAML and `AssessOptions` say the same."""

import datetime as dt
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from damagenet.adapt.options import AdaptOptions
from damagenet.adapt.suggest_options import SuggestOptions
from damagenet.cli import assess
from damagenet.cli.option_parameters import given_values, option_name, option_parameters
from damagenet.config import make_settings, read_settings
from damagenet.errors import ConfigError
from damagenet.evaluation.options import EvaluateOptions
from damagenet.evaluation.survey_options import SurveyOptions, Words
from damagenet.options import AssessOptions
from damagenet.totals.options import SummariseOptions

OWN = {"scenes", "out", "options_file", "as_json", "quiet"}


def run(*arguments):
    app = typer.Typer()
    app.command()(assess.command)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def test_the_command_line_has_exactly_the_options_of_an_assessment():
    parameters = set(inspect.signature(assess.command).parameters)
    assert parameters - OWN == set(AssessOptions.model_fields)


def test_help_shows_every_option_with_its_own_help_and_default():
    text = " ".join(run("--help").output.split())
    for name, field in AssessOptions.model_fields.items():
        assert option_name(name) in text
        assert field.description.split(";")[0].split()[0] in text
    assert "--no-resume" in text
    assert "[default: (gpkg,geojson,cog,html)]" in text
    assert "[default: (0.5)]" in text


def test_no_option_is_given_unless_named():
    assert all(parameter.default is None for parameter in option_parameters(AssessOptions))
    assert given_values({"stride": None, "resume": False}) == {"resume": False}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "gpkg,xls"], ["format.1", "'geojson'", "xls"]),
        (["--bands", "1,2"], ["bands", "three bands"]),
        (["--min-valid", "2"], ["--min-valid", "less than or equal to 1"]),
        (["--stride", "0"], ["stride", "greater than 0"]),
        (["--device", "tpu"], ["device", "cuda:N"]),
        (["--on-error", "stop"], ["on_error", "'skip' or 'fail'"]),
        (["--no-such"], ["--no-such"]),
    ],
)
def test_a_wrong_option_is_wrong_usage_and_named(arguments, words, tmp_path):
    result = run("scene.tif", "--out", str(tmp_path / "out"), *arguments)
    text = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 2
    assert all(word in text for word in words)
    assert not (tmp_path / "out").exists()


def test_a_typo_in_the_file_is_refused_with_its_name_and_what_is_allowed(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("min_vaild: 0.5\n")
    result = run("scene.tif", "--out", str(tmp_path / "out"), "--options", str(file))
    text = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 2
    assert "unknown setting 'min_vaild' (did you mean 'min_valid'?)" in text
    assert "batch_size" in text


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("min_valid: 0.7\nformat: csv\nresume: false\nstride: 20\n")
    options = assess._options(file, {"min_valid": 0.6, "resume": True})
    assert options == AssessOptions(min_valid=0.6, format=("csv",), resume=True, stride=20)


def test_values_on_the_command_line_are_read_as_in_yaml(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("bands: 3,2,1\nacquired: 2017-08-31\nallow_driver: VRT\n")
    from_file = read_settings(AssessOptions, file)
    given = {"bands": "3,2,1", "acquired": "2017-08-31", "allow_driver": "VRT"}
    from_line = make_settings(AssessOptions, given)
    assert from_line.bands == from_file.bands == (3, 2, 1)
    assert from_line.allow_driver == from_file.allow_driver == ("VRT",)
    assert from_line.acquired == from_file.acquired == dt.date(2017, 8, 31)


def test_a_missing_options_file_is_named(tmp_path):
    result = run("a.tif", "--out", "out", "--options", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml" in result.output.replace("\n", "").replace("│", "").replace(" ", "")


def test_options_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        AssessOptions().stride = 3


def test_settings_refuse_by_dotted_path():
    with pytest.raises(ConfigError, match="min_valid: input should be less than or equal to 1"):
        make_settings(AssessOptions, {"min_valid": 3})


def test_reading_the_command_line_loads_nothing_heavy():
    code = (
        "import sys, damagenet.cli.assess;"
        "heavy = {'torch', 'rasterio', 'geopandas', 'pandas', 'numpy', 'pyarrow'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", [AssessOptions, AdaptOptions, SuggestOptions])
def test_every_command_asks_for_three_bands_and_a_known_device(kind):
    needed = {"buildings": "b.gpkg", "out": "o.geojson"} if kind is SuggestOptions else {}
    with pytest.raises(ConfigError, match="bands: name three bands: red, green, blue"):
        make_settings(kind, needed | {"bands": "1,2"})
    if "device" in kind.model_fields:
        with pytest.raises(ConfigError, match="a device is auto, cpu, cuda or cuda:N, got 'tpu'"):
            make_settings(kind, needed | {"device": "tpu"})


def test_a_file_of_another_kind_is_named_as_it_was_written():
    with pytest.raises(ConfigError, match=r"out: the file to write ends in .geojson, got 'l.gpkg'"):
        make_settings(SuggestOptions, {"buildings": "b.gpkg", "out": "l.gpkg"})


@pytest.mark.parametrize("kind", [EvaluateOptions, AdaptOptions, SummariseOptions])
def test_every_command_that_reads_a_survey_says_the_same_of_its_words(kind):
    options = make_settings(kind, {"field": "grade", "damaged": "minor,major", "ignore": "?"})
    assert options.words == Words(damaged=("minor", "major"), ignored=("?",))
    said = {name: field.description for name, field in SurveyOptions.model_fields.items()}
    assert said == {name: kind.model_fields[name].description for name in said}


def test_the_file_of_a_survey_is_shown_before_its_columns():
    shown = [one.name for one in option_parameters(SummariseOptions, first="labels")]
    assert shown[:2] == ["labels", "field"]
    assert sorted(shown) == sorted(SummariseOptions.model_fields)


def test_a_repeated_list_option_is_one_list():
    assert given_values({"format": ["gpkg", "csv"], "bands": []}) == {"format": "gpkg,csv"}
    assert make_settings(AssessOptions, {"format": "gpkg,csv"}).format == ("gpkg", "csv")


@pytest.mark.parametrize("written", ["20170831", 20170831, "2017-08-31", dt.date(2017, 8, 31)])
def test_a_date_is_read_as_a_date(written):
    assert AssessOptions(acquired=written).acquired == dt.date(2017, 8, 31)


@pytest.mark.parametrize("written", ["yesterday", "1504137600", 1504137600])
def test_what_is_no_date_is_refused_with_an_example(written):
    with pytest.raises(ConfigError, match=f"ISO 8601, as in 2017-08-31 .* got '?{written}'?"):
        make_settings(AssessOptions, {"acquired": written})
