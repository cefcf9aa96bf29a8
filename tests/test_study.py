"""`damagenet study` as a person runs it: whole, twice, side by side, stopped and gone on."""

import csv
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from made_studies import make_study
from tiny_tiles import make_tiles

from damagenet.cli import main
from damagenet.errors import DataError
from damagenet.study.execute import Task, execute
from damagenet.study.plan import Run
from damagenet.study.rows import StudyFolder
from damagenet.study.workers import Workers

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
TIMED = {"seconds", "seconds_per_epoch", "peak_mb", "date"}
"""Columns that differ when a run is repeated."""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    make_tiles(folder / "tiles")
    settings = make_study(data={"path": str(folder / "tiles" / "prepared")}).model_dump(
        mode="json", exclude_unset=True
    )
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    return folder / "study.yaml"


@pytest.fixture
def study(monkeypatch, capfd, study_file):
    """Run `damagenet study` in this process: exit code, stdout, stderr."""

    def run(out, *arguments):
        line = ["damagenet", "study", "-c", study_file, "--out", out, "--threads", 1, *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        handlers = logging.getLogger().handlers[:]
        logging.getLogger().handlers[:] = []
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            logging.getLogger().handlers[:] = handlers
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def finished(study_file, tmp_path_factory):
    """Return the folder of a whole study, made in one go by two processes, and what it said."""
    out = tmp_path_factory.mktemp("finished") / "out"
    work = out.parent / "work"
    ran = subprocess.run(
        command(study_file, out, "--processes", 2, "--work", work),
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return out, ran


def command(study_file, out, *arguments):
    code = "from damagenet.cli.main import run; run()"
    line = [sys.executable, "-c", code, "study", "-c", study_file, "--out", out, "--threads", 1]
    return [str(word) for word in (*line, *arguments)]


def read_rows(out):
    with (out / "runs.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def told(rows):
    """Return rows by key without what differs when a run is repeated."""
    return {
        row["key"]: {name: text for name, text in row.items() if name not in TIMED} for row in rows
    }


def one_run(study_file, **changes):
    settings = make_study(data={"path": str(study_file.parent / "tiles" / "prepared")})
    run = {"variant": settings.study.compared[0], "split": "published", "seed": 0, "lr": 0.01}
    return settings, Run(**run | changes)


def test_a_whole_study_is_one_row_per_run(finished):
    out, ran = finished
    rows = read_rows(out)
    assert len(rows) == 10
    assert {row["status"] for row in rows} == {"ok"}
    assert [row["stage"] for row in rows].count("lr") == 4
    for row in rows:
        assert 0 <= float(row["balanced_accuracy"]) <= 1
        budget = ("48", "6") if row["split"] == "published" else ("64", "8")
        assert (row["tiles"], row["steps"]) == budget
        assert (row["epochs"], row["threads"]) == ("2", "1")
        assert 0 < float(row["seconds_per_epoch"]) < float(row["seconds"])
        assert float(row["peak_mb"]) > float(row["saved_mb"]) > 0
        assert int(row["parameters"]) == 24713
    assert "10 runs, 0 done, 10 left" in ran.stderr
    assert "48 tiles x 2 epochs in batches of 16 = 6 steps" in ran.stderr
    assert sum("balanced accuracy" in line for line in ran.stderr.splitlines()) == 10
    assert "minus relu, points" in ran.stdout
    assert "48 or 64 tiles x 2 epochs (6 or 8 steps)" in ran.stdout


def test_the_run_that_chose_the_rate_counts_and_is_not_repeated(finished):
    rows = read_rows(finished[0])
    for name in ("relu", "silu"):
        own = [row for row in rows if row["variant"] == name]
        (lr,) = {row["lr"] for row in own if row["stage"] == "study"}
        tried = [row for row in own if row["stage"] == "lr"]
        best = max(float(row["validation"]) for row in tried)
        assert next(float(row["validation"]) for row in tried if row["lr"] == lr) == best
        judged = {(row["split"], row["seed"]) for row in own if row["lr"] == lr}
        assert len(judged) == 4


def test_a_study_leaves_rows_and_reports_and_no_weights(finished):
    out, _ = finished
    assert {path.name for path in out.iterdir()} == {
        ".locks",
        "runs.csv",
        "study.html",
        "study.md",
        "summary.csv",
    }
    assert [path.name for path in (out.parent / "work").iterdir()] == [".gitignore"]


def test_a_finished_study_is_not_repeated(finished, study):
    out, _ = finished
    before = (out / "runs.csv").read_bytes()
    code, _, err = study(out)
    assert (code, (out / "runs.csv").read_bytes()) == (0, before)
    assert "10 done, 0 left" in err


def test_a_lost_row_comes_back_the_same(finished, study, tmp_path):
    whole, out = finished[0], tmp_path / "out"
    out.mkdir()
    kept = (whole / "runs.csv").read_text().splitlines(keepends=True)
    (out / "runs.csv").write_text("".join(kept[:4] + kept[5:]))
    code, _, err = study(out)
    assert (code, "9 done, 1 left" in err) == (0, True)
    assert told(read_rows(out)) == told(read_rows(whole))


def test_the_reports_are_written_from_the_rows_alone(finished, study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "runs.csv").write_bytes((finished[0] / "runs.csv").read_bytes())
    code, stdout, _ = study(out, "--report-only", "--json", "--set", "data.path=gone")
    summary = json.loads(stdout)
    assert (code, summary["done"], summary["total"]) == (0, 10, 10)
    assert [split["score"] for split in summary["splits"]] == ["accuracy", "balanced_accuracy"]
    assert (out / "study.md").read_text() == (finished[0] / "study.md").read_text()
    code, _, err = study(out, "--report-only", "--limit", "1")
    assert (code, err) == (
        1,
        "damagenet: --report-only runs nothing: leave out --only and --limit\n",
    )


def test_only_some_activations_and_only_so_many_runs(study, tmp_path):
    code, _, err = study(tmp_path, "--only", "silu", "--limit", "1")
    (row,) = read_rows(tmp_path)
    assert (code, row["variant"], row["lr"]) == (0, "silu", "0.001")
    assert "5 runs, 0 done, 5 left" in err
    code, _, err = study(tmp_path, "--limit", "0")
    assert (code, "10 runs, 1 done, 9 left" in err) == (0, True)
    code, _, err = study(tmp_path, "--only", "mish")
    assert (code, "'mish' is no variant of this study" in err) == (1, True)


def test_any_setting_can_be_compared_and_the_results_go_into_a_page(study, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- study harvey -->\n<!-- end of study harvey -->\n")
    variants = [
        {"label": "plain"},
        {"label": "long", "set": {"training.epochs": 4, "model.architecture.dropout": 0.5}},
    ]
    changes = {
        "activations": [],
        "variants": variants,
        "baseline": "plain",
        "seeds": [0],
        "splits": ["region:victoria"],
        "learning_rates": [1e-3],
    }
    options = [word for key, value in changes.items() for word in ("--set", f"study.{key}={value}")]
    code, stdout, err = study(tmp_path / "out", *options, "--into", page)
    assert (code, "2 variants, 1 seed on region:victoria: 2 runs" in err) == (0, True)
    assert "but long: 64 tiles x 4 epochs in batches of 16 = 16 steps, 2 times the budget" in err
    long, plain = read_rows(tmp_path / "out")
    assert [plain["settings"], long["settings"]] == ["", "epochs=4, dropout=0.5"]
    assert [plain["steps"], long["steps"], long["lr"]] == ["8", "16", "0.001"]
    assert "| long | epochs=4, dropout=0.5 |" in page.read_text()
    assert "budget" in stdout
    code, _, err = study(tmp_path / "out", *options, "--into", tmp_path / "gone.md")
    assert (code, "gone.md: cannot read it" in err) == (1, True)


def test_a_run_that_diverges_is_a_row_with_its_reason(study, tmp_path):
    rates = "study.learning_rates=[1e-3,1e9]"
    code, _, err = study(tmp_path, "--only", "relu", "--limit", "2", "--set", rates)
    good, bad = read_rows(tmp_path)
    assert (code, good["status"], bad["status"]) == (0, "ok", "failed")
    assert "not finite" in bad["reason"]
    assert bad["accuracy"] == ""
    assert f"failed: {bad['reason']}" in err
    assert "2 of 10 runs, 1 of them failed" in (tmp_path / "study.md").read_text()


def test_other_tiles_need_another_folder(finished, study, tmp_path):
    make_tiles(tmp_path / "tiles", blocks=2)
    code, _, err = study(finished[0], "--set", f"data.path={tmp_path / 'tiles' / 'prepared'}")
    assert code == 1
    assert "holds runs on other tiles" in err


def test_two_commands_share_the_work_and_one_that_is_stopped_loses_no_row(
    finished, study, study_file, tmp_path
):
    with subprocess.Popen(
        command(study_file, tmp_path),
        env=os.environ | ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as other:
        assert other.stderr is not None
        said = ""
        while "balanced accuracy" not in said and other.poll() is None:
            said += other.stderr.readline()  # its first row is there
        code, _, err = study(tmp_path, "--limit", "2")
        other.send_signal(signal.SIGTERM)
        said += other.stderr.read()
    done = [line for line in (said + err).splitlines() if "balanced accuracy 0" in line]
    done += [line for line in (said + err).splitlines() if "balanced accuracy 1" in line]
    names = [line.partition(" ")[2].partition(": ")[0] for line in done]
    assert (code, len(names)) == (0, len(set(names)))
    # A row is kept before it is said, so that the stopped one may have kept one in silence.
    assert 3 <= len(names) <= len(read_rows(tmp_path)) <= len(names) + 1
    assert other.returncode in (0, 130)
    code, _, _ = study(tmp_path, "--processes", 2)
    assert (code, told(read_rows(tmp_path))) == (0, told(read_rows(finished[0])))


def test_a_process_that_dies_leaves_no_row_and_is_told(study_file, tmp_path):
    settings, run = one_run(study_file)
    folder = StudyFolder(out=tmp_path / "out", work=tmp_path / "work")
    task = Task(settings=settings, run=run, work=folder.work_place("a"), threads=1)
    with Workers(folder) as workers:
        workers.start(task)
        (process,) = multiprocessing.active_children()
        process.kill()
        (ended,) = workers.ended()
    assert (ended.answer, ended.lost) == (None, f"exit code {-signal.SIGKILL:d}")
    assert folder.rows() == []
    assert folder.is_free(task.key)


def test_what_is_not_the_fault_of_a_run_is_no_row(study_file, tmp_path):
    settings, run = one_run(study_file)
    gone = settings.model_copy(
        update={"data": settings.data.model_copy(update={"path": Path("gone")})}
    )
    folder = StudyFolder(out=tmp_path / "out", work=tmp_path / "work")
    with Workers(folder) as workers:
        workers.start(Task(settings=gone, run=run, work=folder.work_place("a"), threads=1))
        (ended,) = workers.ended()
    assert isinstance(ended.answer, DataError)
    assert "gone is no prepared data set" in str(ended.answer)
    assert folder.rows() == []


def test_a_run_that_somebody_else_has_finished_is_left_alone(finished, study_file):
    out, _ = finished
    settings, run = one_run(study_file)
    folder = StudyFolder(out=out, work=out.parent / "work")
    before = (out / "runs.csv").read_bytes()
    with Workers(folder) as workers:
        workers.start(Task(settings=settings, run=run, work=folder.work_place("a"), threads=1))
        (ended,) = workers.ended()
    assert (ended.answer, ended.lost) == (None, "")
    assert (out / "runs.csv").read_bytes() == before


def test_a_run_scores_the_tiles_that_the_split_holds_out(study_file, tmp_path):
    settings, run = one_run(study_file, split="region:victoria")
    row = execute(Task(settings=settings, run=run, work=tmp_path / "work"))
    assert (row.split, row.seed, row.lr, row.stage) == ("region:victoria", 0, 0.01, "study")
    assert not (tmp_path / "work").exists()
