"""What `damagenet` says of itself on the terminal: help, models, demo."""

import subprocess
import sys

import pytest

from damagenet import __version__
from damagenet.cli import main
from damagenet.cli.commands import COMMANDS, load_command


@pytest.fixture
def damagenet(monkeypatch, capfd):
    """Run `damagenet` in this process on a terminal of 80 columns: exit code and stdout."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["damagenet", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "80")
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        return code, capfd.readouterr().out

    return run


def test_every_command_has_a_line_that_is_not_cut_off(damagenet):
    code, out = damagenet("--help")
    assert code == 0
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert "..." not in out.split("Commands:")[1]


@pytest.mark.parametrize(("name", "sentence"), COMMANDS.items())
def test_a_line_is_the_first_sentence_of_the_command_s_own_help(name, sentence):
    assert load_command(name).get_short_help_str(limit=1_000) == sentence


def test_an_unknown_command_is_wrong_usage_with_a_hint():
    code = "from damagenet.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "asess", "scene.tif"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "No such command 'asess' (did you mean 'assess'?)" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_draws_no_boxes_around_narrow_columns(damagenet, name):
    code, out = damagenet(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: damagenet {name}")
    assert "─" not in out


@pytest.mark.parametrize("name", ["assess", "inspect", "adapt", "suggest"])
def test_many_scenes_may_be_named(damagenet, name):
    code, out = damagenet(name, "--help")
    assert code == 0
    assert f"damagenet {name} [OPTIONS] {{SCENE}}...\n" in out


def test_the_models_are_listed_with_their_pooled_scores(damagenet):
    code, out = damagenet("models")
    assert code == 0
    assert "Of 100 intact buildings seen after a storm this model flags" in out
    assert "post-event [all], n 455:" in out
    assert "00000011_post_disaster" not in out


def test_a_demo_that_fails_says_so_with_its_exit_code(damagenet, tmp_path):
    (tmp_path / "a.tif").write_text("no raster")
    code, out = damagenet("demo", "--scene", tmp_path / "a.tif", "--out", tmp_path / "out")
    assert (code, out) == (1, "")


def test_it_says_its_version(damagenet):
    assert damagenet("--version") == (0, f"damagenet {__version__}\n")
