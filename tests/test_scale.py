"""`benchmarks/scale.py`: a plan for a coast from made figures that can be worked out by hand."""

import importlib
import json

import pytest
from made_reports import FOLDER, report, section

from damagenet.errors import ConfigError

PLACES = "".join(
    f"<!-- benchmarks/scale.py {name} begin -->\nan earlier table\n"
    f"<!-- benchmarks/scale.py {name} end -->\n"
    for name in ("inputs", "cores", "gpus", "reading", "lines", "records", "breaks")
)


@pytest.fixture
def module(monkeypatch):
    """Import a file of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def made(module):
    """A report with the sections that the plan needs."""
    figures = module("bench_figures").measurements
    cost = {"rows": 1000, "seconds": 9, "processor_s": 2.0, "peak_mb": 3.0, "size_mb": 0.5}
    names = (
        "writing the parts",
        "buildings and assessments in memory",
        "merging alone",
        *(f"merging, writing {name}" for name in ("gpkg", "geojson", "parquet", "csv")),
    )
    contest = {
        "chips": 2304,
        "rows": [
            {
                "network": "compact CNN",
                "pipeline": "damagenet, written to gpkg and cog",
                "processor_s": [1.0, 2.304, 9.0],
            }
        ],
    }
    reading = {"rows": [{"file": "raw", "bytes_a_chip": 50_000, "decoding_chips_per_s": [4000]}]}
    limits = {
        "1,000 records": dict.fromkeys(names, cost),
        "900 records": dict.fromkeys(names, cost | {"size_mb": 99.0}),
        "report page of one scene": {"500 records": cost | {"rows": 500}},
        "run.json, written once": {"100 scenes": cost | {"rows": 100}},
    }
    return report(
        module,
        *(
            section(module, name=name, measurements=tuple(figures(values)))
            for name, values in (("contest", contest), ("reading", reading), ("limits", limits))
        ),
    )


def row(page: str, start: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_tables_are_what_the_figures_say(module, made):
    scale = module("scale")
    page = scale.filled(PLACES, made)
    assert "an earlier table" not in page
    # 28,000 km2 of chips of 63.71 x 55.64 m, at 1,000 a second of processor time.
    chips = 28_000e6 / (63.71 * 55.64)
    assert row(page, "chips that cover the area once")[1] == f"{chips / 1e6:.1f} million"
    assert row(page, "compact CNN")[1:3] == ["1,000", f"{chips / 1000 / 3600:,.1f}"]
    # 3 TB of chips of 49,152 bytes, on 16 cores for 24 hours.
    days = 3e12 / 49_152 / 1000 / 3600 / 24 / 16
    assert row(page, "compact CNN")[-1] == f"{days:.2f}"
    assert row(page, "ResNet-18")[1] == "not measured"
    assert row(page, "raw")[1:3] == ["50.0", "4,000"]
    # 100 MB/s are 2,000 chips of 50 kB a second, which two cores use up.
    assert row(page, "one disk or one stream")[1:] == ["100", "8.3", "2.0", ""]
    # 1,000 records in 2 s, 0.5 MB.
    written = row(page, "merging, writing gpkg")
    assert written[1:3] == ["500", "500"]
    assert written[3:] == [f"{chips / 500 / 3600:.2f}", f"{chips * 500 / 1e9:.1f}"]
    # 6 kB a record are held.
    assert "16 GB hold 2.7 million" in page


def test_a_file_written_after_every_scene_costs_the_square_of_the_scenes(module):
    # 2 s with 10 scenes in it: 0.2, 0.4 ... 2.0, which is 11 s, and 10 s as half the square.
    assert module("scale").all_writings(2.0, 10, 10) == pytest.approx(10)
    assert module("scale").all_writings(2.0, 10, 100) == pytest.approx(1000)


def test_a_gpu_is_reckoned_from_its_peak_and_a_share_that_is_called_assumed(module, made):
    page = module("scale").filled(PLACES, made)
    rows = json.loads((FOLDER.parent / "docs" / "architectures.json").read_text())["rows"]
    (adds,) = [each["multiply_adds"] for each in rows if each["setting"] == "resnet18"]
    assert "measured, from a raster in memory" not in page
    assert row(page, "2% of the peak (**assumed**)")[1] == f"{0.02 * 989e12 / (2 * adds):,.0f}"


def test_a_page_without_a_place_or_a_result_without_a_section_is_refused(module, made):
    scale = module("scale")
    with pytest.raises(ConfigError, match=r"give it <!-- benchmarks/scale.py inputs begin -->"):
        scale.filled("# Nothing", made)
    lacking = made.model_copy(update={"sections": made.sections[:1]})
    with pytest.raises(ConfigError, match=r"no section 'reading': run.py --only reading"):
        scale.filled(PLACES, lacking)
