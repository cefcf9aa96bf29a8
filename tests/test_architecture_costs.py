"""`benchmarks/architectures.py`: a table inside a page, figures that can be checked by hand."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from damagenet.recipe import ModelSettings
from models.architectures import ARCHITECTURES
from models.factory import check_model

SCRIPT = Path("benchmarks/architectures.py")
PAGE = (
    "# Title\n\n<!-- benchmarks/architectures.py begin -->\nold\n"
    "<!-- benchmarks/architectures.py end -->\n\nText after it.\n"
)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module(SCRIPT.stem)


def test_the_table_stands_between_the_markers_and_the_figures_beside_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    command = [sys.executable, str(SCRIPT), "--smoke", "--only", "cao_choe", "--out", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, table, after = page.read_text().partition(done.stdout.strip())
    assert "| `cao_choe` | 504,001 | 32 M |" in table
    assert before == PAGE[: PAGE.index("old")]
    assert after == PAGE[PAGE.index("old") + 3 :]
    figures = json.loads(page.with_suffix(".json").read_text())
    assert figures["machine"]["torch_threads"] >= 1
    (row,) = figures["rows"]
    # Four unpadded convolutions of 3x3, each halved after, then 512 and 1 of 2 x 2 x 128 features.
    convolutions = 62**2 * 27 * 32 + 29**2 * 288 * 64 + 12**2 * 576 * 128 + 4**2 * 1152 * 128
    assert row["multiply_adds"] == convolutions + 512 * 512 + 512
    for step in ("forward", "training"):
        assert len(row[f"{step}_chips_per_s"]) == 2
        assert min(row[f"{step}_chips_per_s"]) > 0
    # Weights, gradients and AdamW's two averages, four bytes each.
    assert row["training_peak_bytes"] > 16 * row["parameters"]
    assert row["forward_peak_bytes"] < row["training_peak_bytes"]


def test_every_architecture_of_ours_has_a_row(script):
    assert {setting.name for setting in script.settings([])} >= set(ARCHITECTURES)


def test_a_row_is_what_a_recipe_says(script):
    (setting,) = [each for each in script.settings(["all_cnn"]) if "width" in each.parameters]
    assert script.in_words(setting) == "{name: all_cnn, width: 24, extra_stage: true}"
    check_model(ModelSettings(architecture=setting))


def test_a_page_without_a_place_and_an_unknown_row_are_refused(script, tmp_path):
    page = tmp_path / "page.md"
    with pytest.raises(SystemExit, match=r"page\.md has no place for the table: give it the lines"):
        script.around_the_table(page)
    with pytest.raises(SystemExit, match="no row of 'alexnet'; --only takes: compact_resnet, cao_"):
        script.settings(["alexnet"])
