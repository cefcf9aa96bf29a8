"""What commands load: modules of other commands cost seconds, and memory as long as they run."""

import subprocess
import sys

from tiny_run import make_scene

FOREIGN = {
    *("albumentations", "captum", "cv2", "fastapi", "lightning", "matplotlib", "onnx"),
    *("onnxruntime", "ray", "scipy", "sklearn", "sqlalchemy", "tensorboard", "timm"),
    *("torch._dynamo", "torchmetrics", "torchvision", "uvicorn"),
}
"""What training, explaining, exporting and serving need, and an assessment does not."""
CODE = """
import sys
from damagenet.cli import main
sys.argv[0] = "damagenet"
try:
    main.run()
finally:
    print(*sys.modules)
"""


def test_an_assessment_loads_nothing_of_other_commands(tmp_path):
    # Of the size that the chips of the shipped model are: one cell.
    scene = make_scene(tmp_path / "one.tif", columns=2, rows=2)
    done = subprocess.run(
        [sys.executable, "-c", CODE, "assess", str(scene), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "damage.gpkg").exists()
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert FOREIGN & loaded == set()


def test_help_loads_no_command():
    done = subprocess.run(
        [sys.executable, "-c", CODE, "--help"], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "damagenet.cli.commands" in loaded
    assert loaded & {"damagenet.cli.assess", "damagenet.options", "pydantic", "yaml"} == set()
