"""`damagenet activations` as a person calls it."""

import json
import math
import sys

import numpy as np
import pytest
from PIL import Image

from damagenet.cli import main
from models.activations import ACTIVATIONS, ALIASES


@pytest.fixture
def damagenet(monkeypatch, capfd):
    """Run `damagenet activations` in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["damagenet", "activations", *map(str, arguments)])
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capfd.readouterr()

    return run


def colours_of(path):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    return {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}


BLUE, ORANGE = (0x17, 0x46, 0x7E), (0xC4, 0x61, 0x1D)


def test_the_list_has_every_function_with_formula_parameters_and_source(damagenet):
    code, out, _ = damagenet()
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == sorted(ACTIVATIONS)
    at = next(number for number, line in enumerate(lines) if line.startswith("pvlu "))
    assert lines[at].endswith("max(0, x) + alpha sin(beta x)")
    assert "alpha 0.1*, beta 1* per channel; C0; " in lines[at + 1]
    assert "; slope 0.94; " in lines[at + 1]
    assert lines[at + 1].endswith("arXiv:2110.12246 (assumed)")


def test_the_list_as_json_holds_the_whole_table(damagenet):
    code, out, _ = damagenet("--json")
    assert code == 0
    found = json.loads(out)
    assert set(found) == set(ACTIVATIONS)
    assert found["leaky_ada"]["parameters"]["leak"] == {
        "start": 0.01,
        "learned": False,
        "range": "any",
    }
    assert found["or_ail"]["channels"] == [2, 1]
    assert found["crelu"]["channels"] == [1, 2]


def test_one_function_is_told_with_its_moments_gain_and_other_names(damagenet):
    code, out, _ = damagenet("show", "ada")
    assert code == 0
    assert out.startswith("ada\n  formula      max(0, x) exp(-alpha x + c)\n")
    for line in (
        "parameters   alpha 0.5*, c 0 per network",
        "on N(0, 1)   mean 0.2241, sd 0.2720, square 0.1242",
        "slope        0.3941: an error of the variance shrinks from layer to layer",
        "gain         2.8374: init `he` starts weights at N(0, gain^2 / fan_in)",
        "other names  ada_charcnn, ada_mlp",
    ):
        assert f"\n  {line}\n" in out


def test_another_name_says_what_it_stands_for(damagenet):
    code, out, _ = damagenet("show", "ada_charcnn")
    assert code == 0
    assert "\n  is           ada with alpha=0.5, c=1.0\n" in out
    assert "\n  gain         1.0438:" in out


def test_a_joining_function_says_how_many_channels_it_takes(damagenet):
    _, out, _ = damagenet("show", "or_ail")
    assert "\n  channels     2 become 1\n" in out
    assert "slope squared" not in out


def test_one_function_as_json_has_its_moments(damagenet):
    code, out, _ = damagenet("show", "relu", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["name"] == "relu"
    assert found["moments"]["gain"] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("name", ["rowdy_tanh", "n_laaf", "softmax", "and_or_ail", "abrelu"])
def test_every_kind_of_function_can_be_shown_and_drawn(damagenet, tmp_path, name):
    path = tmp_path / "picture.png"
    code, out, err = damagenet("show", name, "--plot", path)
    assert (code, err) == (0, "")
    assert out.startswith(name)
    assert len(colours_of(path)) > 20


def test_a_picture_shows_the_function_and_its_derivative(damagenet, tmp_path):
    path = tmp_path / "gcu.png"
    assert damagenet("show", "gcu", "--plot", path)[0] == 0
    assert {BLUE, ORANGE} <= colours_of(path)
    assert not list(tmp_path.glob(".*"))


def test_a_function_of_two_inputs_is_drawn_as_a_map(damagenet, tmp_path):
    path = tmp_path / "or.png"
    assert damagenet("show", "or_ail", "--plot", path)[0] == 0
    found = colours_of(path)
    assert not {BLUE, ORANGE} & found
    # At least sixteen shades, from the lowest value to the highest.
    assert len(found) >= 16


def test_all_functions_fit_on_one_sheet(damagenet, tmp_path):
    path = tmp_path / "all.png"
    code, out, err = damagenet("--plot-all", path)
    assert (code, out, err) == (0, f"{path}: {len(ACTIVATIONS)} functions\n", "")
    with Image.open(path) as picture:
        width, height = picture.size
    assert height > width > 1000
    assert {BLUE, ORANGE} <= colours_of(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "pvul"], "unknown activation 'pvul': did you mean pvlu?"),
        (["show", "ReLU"], "unknown activation 'ReLU': did you mean relu"),
        (["show", "qqqq"], "unknown activation 'qqqq': choose one of: abrelu, abu, ada, "),
        (["show", "relu", "--plot", "DIR/no/relu.png"], "no is no folder: make it, or draw into"),
        (["--plot-all", "DIR/no/all.png"], "no is no folder: make it, or draw into another"),
        (["show", "relu", "--plot", "DIR"], "is a folder: name a file in it"),
        (["show", "relu", "--plot", "DIR/a.bmp"], "cannot draw a.bmp: end it in .png, .svg, .pdf"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(damagenet, tmp_path, arguments, message):
    code, out, err = damagenet(*(each.replace("DIR", str(tmp_path)) for each in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("damagenet: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["show", "relu", "--plot"], ["--plot-all"]])
def test_a_picture_that_is_there_is_not_replaced(damagenet, tmp_path, arguments):
    path = tmp_path / "picture.png"
    path.write_bytes(b"mine")
    code, _, err = damagenet(*arguments, path)
    assert code == 1
    assert f"{path} is there already: pass --overwrite to replace it" in err
    assert path.read_bytes() == b"mine"


def test_a_picture_is_replaced_where_that_is_asked_for(damagenet, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"mine")
    assert damagenet("show", "relu", "--plot", path, "--overwrite")[0] == 0
    assert {BLUE, ORANGE} <= colours_of(path)


def test_without_matplotlib_it_says_how_to_get_it(damagenet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = damagenet("show", "relu", "--plot", tmp_path / "relu.png")
    assert code == 1
    assert err == (
        "damagenet: drawing needs matplotlib, which is not installed: "
        "pip install 'damagenet[plots]'\n"
    )


def test_every_other_name_can_be_shown(damagenet):
    for name in ALIASES:
        code, out, _ = damagenet("show", name)
        assert code == 0
        assert out.startswith(f"{name}\n")
