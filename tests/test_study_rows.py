"""The rows of a study on disk, and who may do which run."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from made_studies import finish, make_row, make_study

from damagenet.errors import DataError
from damagenet.study.plan import Run
from damagenet.study.rows import StudyFolder


def first_run(study, *, seed=0):
    return Run(variant=study.study.compared[0], split="published", seed=seed, lr=1e-3)


def make_folder(tmp_path):
    return StudyFolder(out=tmp_path / "out", work=tmp_path / "work")


def test_rows_come_back_as_they_were_and_in_order(tmp_path):
    study, folder = make_study(), make_folder(tmp_path)
    rows = list(finish(study, lambda run: None if run.lr > 5e-3 else 0.123456).values())
    for row in rows:
        folder.add(row)
    found = folder.rows()
    assert {row.key: row for row in found} == {row.key: row for row in rows}
    assert found == sorted(found, key=lambda row: (row.variant, row.split, row.seed, row.lr))
    assert folder.rows() == make_folder(tmp_path).rows()


def test_a_row_is_replaced_by_one_with_its_key(tmp_path):
    study, folder = make_study(), make_folder(tmp_path)
    folder.add(make_row(study, first_run(study), score=0.5))
    folder.add(make_row(study, first_run(study), score=0.7))
    assert [row.accuracy for row in folder.rows()] == [0.7]


def test_rows_of_an_earlier_damagenet_lack_columns_that_came_later(tmp_path):
    study, folder = make_study(), make_folder(tmp_path)
    folder.add(make_row(study, first_run(study), hardware="a machine"))
    path = folder.out / "runs.csv"
    heads, cells = (line.split(",") for line in path.read_text().splitlines())
    kept = [place for place, name in enumerate(heads) if name not in ("saved_mb", "reason")]
    path.write_text("\n".join(",".join(line[at] for at in kept) for line in (heads, cells)))
    (row,) = folder.rows()
    assert (row.saved_mb, row.reason, row.accuracy) == (None, "", 0.9)


@pytest.mark.parametrize("spoilt", ["<<<<<<< HEAD\n", "x,y\n", "," * 40 + "\n", "\xff"])
def test_a_spoilt_line_is_refused_by_its_number(tmp_path, spoilt):
    study, folder = make_study(), make_folder(tmp_path)
    folder.add(make_row(study, first_run(study)))
    path = folder.out / "runs.csv"
    path.write_bytes(path.read_bytes() + spoilt.encode("latin-1"))
    with pytest.raises(DataError, match=r"runs\.csv"):
        folder.rows()
    with pytest.raises(DataError, match=r"runs\.csv"):
        folder.add(make_row(study, first_run(study, seed=1)))


def test_no_row_is_lost_when_many_are_added_at_once(tmp_path):
    study, folder = make_study(), make_folder(tmp_path)
    rows = [make_row(study, first_run(study, seed=seed)) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(folder.add, rows))
    assert {row.key for row in folder.rows()} == {row.key for row in rows}


def test_a_run_is_claimed_once_and_given_back(tmp_path):
    first, second = make_folder(tmp_path), make_folder(tmp_path)
    with first.claim("a") as mine, second.claim("a") as theirs, second.claim("b") as other:
        assert (mine, theirs, other) == (True, False, True)
        assert not second.is_free("a")
    assert second.is_free("a")


def test_the_claim_of_a_killed_process_is_void(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from damagenet.study.rows import StudyFolder\n"
        f"folder = StudyFolder(out=Path({str(tmp_path / 'out')!r}), work=Path('work'))\n"
        "with folder.claim('a') as mine:\n"
        "    print(mine, flush=True)\n"
        "    input()\n"
    )
    line = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdout=pipe, stdin=pipe, text=True, cwd=tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not make_folder(tmp_path).is_free("a")
        other.kill()
    assert make_folder(tmp_path).is_free("a")


def test_locks_stay_out_of_the_repository(tmp_path):
    folder = make_folder(tmp_path)
    assert folder.is_free("a")
    assert (folder.out / ".locks" / ".gitignore").read_text() == "*\n"
    assert folder.work_place("a") == tmp_path / "work" / "a"
