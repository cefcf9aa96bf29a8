"""Files appear whole or not at all, and what goes wrong is said with path and cause."""

import subprocess
import sys
from pathlib import Path

import pytest
from assessments import make_assessment

from damagenet.errors import OutputError
from damagenet.options import FORMATS
from damagenet.outputs.atomic import appears, unwritable
from damagenet.outputs.writing import write_outputs

TESTS = Path(__file__).parent

CRAMPED = """
import resource, signal, sys
from pathlib import Path
from damagenet.assessment import Assessment
from damagenet.errors import OutputError
from damagenet.outputs.writing import write_outputs

assessment = Assessment.model_validate_json(Path(sys.argv[1]).read_text())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    write_outputs(assessment, [sys.argv[2]])
except OutputError as error:
    sys.exit(f"OutputError: {error}")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(path: Path) -> None:
    with appears(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with appears(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(path)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".a.txt.partial"
    left.mkdir()
    (left / "a.txt").write_text("half")
    with appears(tmp_path / "a.txt") as temporary:
        assert not temporary.exists()
        temporary.write_text("whole")
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(OutputError, match=r"cannot write .*file/a.txt: Not a directory.*--out"),
        appears(tmp_path / "file" / "a.txt"),
    ):
        pass


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"), appears(tmp_path / "a.txt"):
        pass


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, format_name: str) -> None:
    made = make_assessment(tmp_path, kind="building", shape=(24, 24))
    description = tmp_path / "assessment.json"
    description.write_text(made.model_dump_json())
    whole = write_outputs(made, [format_name])
    limit = int(whole[0].stat().st_size * 0.93)  # late enough for what is written on closing
    for path in whole:
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-c", CRAMPED, str(description), format_name, str(limit)],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS,
    )
    assert done.returncode == 1, done.stderr
    assert "OutputError: cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(made.folder) == ["parts"]


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    made = make_assessment(tmp_path)
    first = write_outputs(made, FORMATS)
    assert {path.name for path in first} == {
        "damage.gpkg",
        "damage.geojson",
        "damage.parquet",
        "damage.csv",
        "damage.tif",
        "damage.qml",
        "report.html",
        "summary.json",
    }
    assert write_outputs(made, FORMATS) == first
    assert {path.name for path in made.folder.iterdir()} == {path.name for path in first} | {
        "parts"
    }


def test_the_cause_behind_a_library_s_error_is_told():
    err = OSError("Write failed. See previous exception for details.")
    err.__cause__ = OSError("No space left on device")
    told = str(unwritable(Path("out/damage.tif"), err))
    assert told.startswith("cannot write out/damage.tif: No space left on device; nothing was")
