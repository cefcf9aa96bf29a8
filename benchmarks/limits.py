"""What grows with a run: merging and writing many records, the report page, `run.json`.

    python benchmarks/limits.py [--rows 100000,1000000] [--page-rows 100000,500000]

A made scene is assessed once; its records are repeated as the records of many buildings, 512 a
part, 10,000 a scene, and merged into `DIR/damage.*` as a run does it, each format by itself. The
report page is written of one scene with that many buildings, and `run.json` with so many scenes.
Each is done once, in a process of its own, whose peak memory above its start is told (Linux).
It runs for some ten minutes.
"""

import argparse
import json
import logging
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from made_run import MadeRun, assessed_once, write_many

from damagenet.engine.merge import merged_buildings, write_merged
from damagenet.engine.run_record import RunRecord, read_record, write_record
from damagenet.outputs.layer import VectorLayer
from damagenet.outputs.writing import write_outputs

TABLES = ("gpkg", "geojson", "parquet", "csv")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(kw_only=True)
class Cost:
    """What one thing took."""

    rows: int
    """Records or scenes."""
    seconds: float
    processor_s: float
    peak_mb: float
    """Above what the process held before."""
    size_mb: float = 0.0
    """Of the file written."""


def memory_mb(name: str) -> float:
    """Return `VmRSS` (resident now) or `VmHWM` (its peak)."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


@contextmanager
def costing(rows: int) -> Iterator[Cost]:
    """Yield a cost that is filled in when the block ends."""
    CLEAR.write_text("5")  # the peak begins from here
    before = memory_mb("VmRSS")
    cost = Cost(rows=rows, seconds=0, processor_s=0, peak_mb=0)
    wall, processor = time.perf_counter(), time.process_time()
    yield cost
    cost.seconds = round(time.perf_counter() - wall, 2)
    cost.processor_s = round(time.process_time() - processor, 2)
    cost.peak_mb = round(max(memory_mb("VmHWM") - before, 0), 1)


def parts(folder: Path, rows: int) -> Cost:
    """Make the buildings and write the parts of a run."""
    first = assessed_once(folder)
    with costing(rows) as cost:
        write_many(folder, rows, first)
    paths = MadeRun.read(folder).part_paths()
    cost.size_mb = round(sum(path.stat().st_size for path in paths) / 1e6, 3)
    return cost


def holding(folder: Path, rows: int) -> Cost:
    """Read the buildings and the assessments, which a run holds while it merges."""
    with costing(rows) as cost:
        run = MadeRun.read(folder)
    cost.size_mb = round(run.buildings.path.stat().st_size / 1e6, 3)
    return cost


def merging(folder: Path, rows: int) -> Cost:
    """Merge the records of all scenes and write nothing."""
    run = MadeRun.read(folder)
    with costing(rows) as cost:
        merged = sum(map(len, merged_buildings(run.assessments, run.buildings)))
    if merged != rows:
        raise SystemExit(f"{merged} records came out of {rows}")
    return cost


def table(folder: Path, rows: int, name: str) -> Cost:
    """Merge the records and write them in one format."""
    run = MadeRun.read(folder)
    layer = VectorLayer.of_run(run.assessments)
    with costing(rows) as cost:
        (path,) = write_merged(folder, (name,), layer, run.assessments, run.buildings)
    cost.size_mb = round(path.stat().st_size / 1e6, 3)
    path.unlink()
    return cost


def page(folder: Path, rows: int) -> Cost:
    """Write the report page of one scene with all buildings."""
    write_many(folder, rows, assessed_once(folder), scene_rows=rows)
    (assessment,) = MadeRun.read(folder).assessments
    with costing(rows) as cost:
        write_outputs(assessment, ("html",))
    cost.size_mb = round((assessment.folder / "report.html").stat().st_size / 1e6, 3)
    return cost


def record(folder: Path, scenes: int) -> Cost:
    """Write `run.json` once with that many scenes, as a run does it after every scene."""
    (earlier,) = read_record(folder).runs
    one = earlier.scenes[0]
    many = tuple(one.model_copy(update={"folder": f"{one.folder}-{n}"}) for n in range(scenes))
    whole = RunRecord(runs=(earlier.model_copy(update={"scenes": many}),))
    out = folder / f"scenes-{scenes}"
    out.mkdir()
    with costing(scenes) as cost:
        write_record(out, whole)
    cost.size_mb = round((out / "run.json").stat().st_size / 1e6, 3)
    return cost


Start = Callable[..., Cost]
"""Calls some work with its arguments."""


def alone(work: Callable[..., Cost], *arguments: object) -> Cost:
    """Return the cost of some work in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def here(work: Callable[..., Cost], *arguments: object) -> Cost:
    """Return the cost of some work in this process, where imports are paid for once."""
    return work(*arguments)


def measure(arguments: argparse.Namespace, root: Path, call: Start) -> dict[str, dict[str, Cost]]:
    """Return what everything took, in tables: by number of records, of the page, of `run.json`."""
    tables: dict[str, dict[str, Cost]] = {}
    for rows in arguments.rows:
        folder = root / f"run-{rows}"
        folder.mkdir()
        tables[f"{rows:,} records"] = {
            "writing the parts": call(parts, folder, rows),
            "buildings and assessments in memory": call(holding, folder, rows),
            "merging alone": call(merging, folder, rows),
            **{f"merging, writing {name}": call(table, folder, rows, name) for name in TABLES},
        }
        shutil.rmtree(folder)
        print(f"{rows} records", file=sys.stderr)
    pages = tables.setdefault("report page of one scene", {})
    for rows in arguments.page_rows:
        folder = root / f"page-{rows}"
        folder.mkdir()
        pages[f"{rows:,} records"] = call(page, folder, rows)
        shutil.rmtree(folder)
        print(f"page of {rows} records", file=sys.stderr)
    folder = root / "record"
    folder.mkdir()
    call(parts, folder, 1)
    tables["run.json, written once"] = {
        f"{scenes:,} scenes": call(record, folder, scenes) for scenes in arguments.scenes
    }
    return tables


def numbers(text: str) -> list[int]:
    """Return the numbers of a list with commas."""
    return [int(word) for word in text.split(",")]


def main() -> None:
    """Measure, and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=numbers, default=[100_000, 1_000_000])
    parser.add_argument("--page-rows", type=numbers, default=[100_000, 500_000])
    parser.add_argument("--scenes", type=numbers, default=[100, 1_000, 10_000])
    parser.add_argument("--smoke", action="store_true", help="few of everything")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rows, arguments.page_rows, arguments.scenes = [600], [], [10]
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        tables = measure(arguments, Path(folder), here if arguments.smoke else alone)
    figures = {
        title: {name: asdict(cost) for name, cost in rows.items()} for title, rows in tables.items()
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
