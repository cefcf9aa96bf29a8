"""The wheel: what is installed works away from the repository."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel and install it into an environment that borrows only the libraries."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder)], ROOT)
    (wheel,) = folder.glob("damagenet-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], folder)
    # A path in a .pth file is searched, but the editable install in it is not followed.
    site = folder / "env" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (site / "site-packages" / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(command: list[str], folder: Path) -> str:
    # Without the data folder the demo makes a scene of its own, which is what a new user sees.
    here = {name: value for name, value in os.environ.items() if name != "DAMAGENET_DATA"}
    done = subprocess.run(
        command, cwd=folder, env=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_used_and_not_the_repository(installed):
    where = "import damagenet, models, data_prep; print(damagenet.__file__, models.__file__)"
    printed = run([str(installed / "env" / "bin" / "python"), "-c", where], installed)
    assert all(path.startswith(str(installed)) for path in printed.split())


def test_the_wheel_assesses_with_the_shipped_bundle(installed):
    damagenet = str(installed / "env" / "bin" / "damagenet")
    printed = run([damagenet, "demo", "--out", "demo"], installed)
    assert "made_scene" in printed
    assert (installed / "demo" / "made_scene" / "made_scene" / "report.html").exists()


def test_the_wheel_finds_the_shipped_recipes(installed):
    damagenet = str(installed / "env" / "bin" / "damagenet")
    command = [damagenet, "train", "-c", "configs/harvey.yaml", "--out", "out"]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no prepared data set" in done.stderr
    names = "harvey", "harvey_three/plain", "kornblith_probe"
    code = (
        "import pathlib, damagenet.recipe as r; "
        f"print(*(r.read_recipe(pathlib.Path(name)).name for name in {names}))"
    )
    printed = run([str(installed / "env" / "bin" / "python"), "-c", code], installed)
    assert printed.split() == ["harvey", "harvey-plain", "kornblith-probe"]


def test_the_wheel_knows_what_activations_were_measured_to_cost(installed):
    damagenet = str(installed / "env" / "bin" / "damagenet")
    assert "x SiLU (cpu" in run([damagenet, "activations", "show", "pvlu"], installed)
