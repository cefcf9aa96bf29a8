"""`benchmarks/run.py`: the shape of its result and what the page says of it; never the clock."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from made_reports import FOLDER, report, section

from damagenet.bundle import load_bundle
from damagenet.errors import ConfigError
from damagenet.inference import Predictor


@pytest.fixture
def module(monkeypatch):
    """Import a file of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def run(module, monkeypatch):
    """Call run.py with a command line; returns its exit status or what it says as it stops."""

    def called(*words: object) -> object:
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            module("run").main()
        return ended.value.code

    return called


def test_a_smoke_run_writes_json_and_a_page_of_every_section_it_ran(run, module, tmp_path):
    out = tmp_path / "bench.json"
    assert run("--smoke", "--only", "reading,contest", "--out", out) == 0
    found = module("bench_result").read_report(out)
    assert found.smoke
    assert [(each.name, each.status) for each in found.sections] == [
        ("contest", "measured"),
        ("reading", "measured"),
    ]
    contest, reading = found.sections
    rows = [each.row for each in contest.measurements if each.unit == "chips/s"]
    assert rows[:2] == [
        "compact CNN, forward only, chips in memory",
        "compact CNN, damagenet, written to gpkg and cog",
    ]
    assert rows[2].startswith("compact CNN, loop over rasterio")
    assert contest.median("largest difference", row=rows[2], table="rows") <= 1e-3
    assert contest.median("chips") == 16
    # 512 x 512 px of three bands, no better than noise lets it be.
    size = reading.median("bytes a chip", row="uncompressed, 512 px blocks", table="rows")
    assert size == pytest.approx(128 * 128 * 3, rel=0.01)
    page = out.with_suffix(".md").read_text()
    assert "A smoke run" in page
    assert found.machine.processor in page
    assert "## Reading" in page


def test_what_grows_with_a_run_is_measured_in_full(module, tmp_path):
    limits = module("limits")
    arguments = limits.argparse.Namespace(rows=[600], page_rows=[], scenes=[10, 20])
    tables = limits.measure(arguments, tmp_path, limits.here)
    assert list(tables) == ["600 records", "report page of one scene", "run.json, written once"]
    records, _, run_json = tables.values()
    assert {cost.rows for cost in records.values()} == {600}
    written = [f"merging, writing {name}" for name in ("gpkg", "geojson", "parquet", "csv")]
    assert all(records[name].size_mb > 0 for name in ("writing the parts", *written))
    assert run_json["20 scenes"].size_mb > run_json["10 scenes"].size_mb > 0


def test_a_benchmark_that_fails_is_reported_with_its_last_words(module):
    sections = module("bench_sections")
    lost = sections.Benchmark(name="lost", title="Lost", words="", script="no_such_file.py")
    found = sections.measure(lost, (), smoke=False)
    assert found.status == "failed"
    assert "no_such_file.py" in found.note
    assert report(module, found).failed == ("lost",)


def test_a_benchmark_without_its_device_is_not_measured_and_says_why(module, tmp_path, monkeypatch):
    sections = module("bench_sections")
    monkeypatch.setattr(sections, "HERE", tmp_path)
    (tmp_path / "gpu.py").write_text(
        "import sys\nprint('no GPU is there', file=sys.stderr)\nsys.exit(3)\n"
    )
    gpu = sections.Benchmark(name="gpu", title="GPU", words="", script="gpu.py")
    found = sections.measure(gpu, (), smoke=False)
    assert (found.status, found.note) == ("not measured", "no GPU is there")
    assert report(module, found).failed == ()


def test_a_missed_bar_is_measured_told_and_fails_the_run(module, tmp_path, monkeypatch):
    sections, result = module("bench_sections"), module("bench_result")
    monkeypatch.setattr(sections, "HERE", tmp_path)
    figures = {"a_chips_per_s": [1, 3, 2], "share": 0.7, "note": "As it was."}
    (tmp_path / "slow.py").write_text(
        f"import pathlib, sys\npathlib.Path(sys.argv[-1]).write_text('''{json.dumps(figures)}''')\n"
        "sys.exit(1)\n"
    )
    bars = (
        result.Bar(key="share", words="share of it", bar=0.75),
        result.Bar(key="share", words="cost of it", bar=0.75, holds="at most"),
        result.Bar(key="not.there", words="the other", bar=1),
    )
    slow = sections.Benchmark(name="slow", title="Slow", words="", script="slow.py", bars=bars)
    found = sections.measure(slow, (), smoke=False)
    assert found.status == "measured"
    assert found.median("a", "chips/s") == 2
    assert [ratio.passed for ratio in found.ratios] == [False, True]
    assert found.note == "As it was. No figure for: the other."
    whole = report(module, found)
    assert whole.failed == ("slow: share of it",)
    page = module("bench_page").page(whole)
    assert "| Slow | share of it | 0.7 | at least 0.75 | **missed** |" in page
    assert "| Slow | cost of it | 0.7 | at most 0.75 | reached |" in page


def test_the_page_is_made_of_the_json_alone(run, module, tmp_path):
    result = module("bench_result")
    out = tmp_path / "bench.json"
    ahead = section(
        module,
        load_average=9.0,
        measurements=(
            result.Measurement.of("", "chips/s", [1000, 3000, 2000], table="rows", row="ours"),
            result.Measurement.of("", "chips/s", [100], table="rows", row="theirs"),
            result.Measurement.of("peak", "MB", [7], table="rows", row="theirs"),
        ),
        ratios=(
            result.Ratio(name="times as fast as one", value=2.0),
            result.Ratio(name="times as fast as the other", value=0.5),
        ),
    )
    out.write_text(report(module, ahead).model_dump_json())
    assert run("--report-only", "--out", out) == 0
    page = out.with_suffix(".md").read_text()
    assert "| | chips/s | peak, MB |" in page
    assert "| ours | 2,000 (1,000 to 3,000) |  |" in page
    assert "| theirs | 100 | 7 |" in page
    assert "- times as fast as one: 2; damagenet was ahead" in page
    assert "- times as fast as the other: 0.5; **the other was ahead**" in page
    assert "Other programs were running" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is no result of run.py"),
        ('{"machine": {}, "sections": []}', "machine.processor"),
    ],
)
def test_another_file_is_no_result(run, tmp_path, text, said):
    out = tmp_path / "bench.json"
    out.write_text(text)
    assert said in run("--report-only", "--out", out)
    assert not out.with_suffix(".md").exists()


def test_a_median_that_is_not_of_its_runs_is_refused(module, tmp_path):
    measured = module("bench_result").Measurement.of("", "s", [1, 2, 9])
    whole = report(module, section(module, measurements=(measured,)))
    path = tmp_path / "bench.json"
    path.write_text(whole.model_dump_json().replace('"median":2.0', '"median":1.0'))
    with pytest.raises(ConfigError, match="not the median of its runs"):
        module("bench_result").read_report(path)


def test_sections_of_another_machine_are_not_mixed_in(run, module, tmp_path):
    out = tmp_path / "bench.json"
    out.write_text(
        report(module, section(module))
        .model_dump_json()
        .replace(module("bench_machine").describe_machine().processor, "Abacus")
    )
    assert "on another machine" in run("--only", "reading", "--out", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "readin"), "unknown 'readin', choose of contest"),
        (("--contenders", "gdal"), "unknown 'gdal', choose of torchgeo, rastervision"),
        (("--runs", "0"), "--runs must be at least 1, got 0"),
        (("--smoke",), "give --out FILE"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(run, capsys, words, said):
    assert run(*words) == 2
    assert said in capsys.readouterr().err


class MeanOfRed(torch.nn.Module):
    """A network whose logits can be worked out by hand."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0].mean((1, 2)).unsqueeze(1)


# TorchScript is what contenders of any torch can load, whatever torch would rather have us use.
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_contender_tells_where_its_chips_lie_and_is_kept_out_if_it_differs(module, tmp_path):
    asked_module, contenders = module("contenders.asked"), module("contenders.environments")
    scene = tmp_path / "scene.tif"
    module("smoke_scene").make_smoke_scene(scene)
    torch.jit.trace(MeanOfRed(), torch.zeros(2, 3, 128, 128)).save(tmp_path / "mean.ts")
    given = {"scene": scene, "network": tmp_path / "mean.ts", "batch-size": 5, "chip": 128}
    with rasterio.open(scene) as file:
        red = file.read(1).reshape(4, 128, 4, 128).mean((1, 3))
    predictor = Predictor(load_bundle("harvey"), device="cpu")
    work = module("contest_work")
    with asked_module.Asked(contenders.LOOP, Path(sys.executable), given, workers=0) as asked:
        np.testing.assert_allclose(asked.logits(4, 128), red.reshape(-1), rtol=1e-4)
        assert asked.run(16)[0] > 0
        with pytest.raises(asked_module.ContenderFailedError, match="judged 16 of 17 chips"):
            asked.run(17)
        with pytest.raises(asked_module.ContenderFailedError, match="differ from ours by up to"):
            work.difference(asked, predictor, work.chips_of(scene))


def test_tables_inside_a_benchmarks_json_become_rows(module):
    figures = module("bench_figures")
    found = {
        "machine": {"cores": 2},
        "passed": True,
        "harvey": {
            "parameters": 7,
            "costs": {"ratio_wall": 2.25, "bar": 2.5, "seconds": {"chips": [[1, 2]]}},
            "differences": [{"scene": "a.tif", "mean": 0.01}, {"scene": "b.tif", "mean": 0.03}],
        },
        "curve": [{"side_px": 60_000, "peak_mb": 12.5, "passed": True, "pays_from": None}],
    }
    rows = [(e.table, e.row, e.name, e.unit, e.median) for e in figures.measurements(found)]
    assert rows == [
        ("harvey", "harvey", "parameters", "", 7),
        ("harvey", "costs", "ratio wall", "", 2.25),
        ("harvey", "differences, a.tif", "mean", "", 0.01),
        ("harvey", "differences, b.tif", "mean", "", 0.03),
        ("curve", "1", "side", "px", 60_000),
        ("curve", "1", "peak", "MB", 12.5),
    ]
    bar = module("bench_result").Bar(key="harvey.differences.1.mean", words="second", bar=0.02)
    (ratio,) = figures.ratios(found, (bar,))
    assert ratio.value == 0.03
    assert figures.missing(found, (bar.model_copy(update={"key": "harvey.differences.2.mean"}),))
