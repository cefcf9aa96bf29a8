"""The figures that a plan for a whole coast is made of, each with where it comes from."""

import json
from dataclasses import dataclass
from pathlib import Path

from bench_result import Report, Section

from damagenet.errors import ConfigError

CONTEST_ROW = "{network}, damagenet, written to gpkg and cog"
PROCESSOR_S = "s of processor time"
COMPACT, RESNET18 = "compact CNN", "ResNet-18"
TABLES = ("gpkg", "geojson", "parquet", "csv")


@dataclass(frozen=True, kw_only=True)
class Grown:
    """What one step of merging or writing cost at the largest number of records measured.

    Attributes:
        name: What was done.
        rows: Records.
        processor_s: Seconds of processor time.
        peak_mb: Memory above what was held before.
        size_mb: Of what it wrote.
    """

    name: str
    rows: int
    processor_s: float
    peak_mb: float
    size_mb: float

    def hours(self, rows: float) -> float:
        """Return core-hours for so many records, being in proportion to them."""
        return self.processor_s / self.rows * rows / 3600

    def gigabytes(self, rows: float) -> float:
        """Return the size for so many records, being in proportion to them."""
        return self.size_mb / self.rows * rows / 1000


@dataclass(frozen=True, kw_only=True)
class Coding:
    """What one way to store pixels costs to read.

    Attributes:
        name: Compression and blocks.
        bytes_a_chip: Of the file.
        chips_per_s: That one core decodes.
    """

    name: str
    bytes_a_chip: float
    chips_per_s: float


def chips_per_core_s(report: Report, network: str) -> float | None:
    """Return chips per second of processor time, from GeoTIFF to files; None if not measured."""
    row = CONTEST_ROW.format(network=network)
    for contest in report.contests:
        seconds = contest.median("", PROCESSOR_S, row=row, table="rows")
        chips = contest.median("chips")
        if seconds and chips:
            return chips / seconds
    return None


def gpu_chips_per_s(report: Report) -> float | None:
    """Return chips per second of the pipeline on a GPU; None where there was none."""
    gpu = report.section("gpu")
    return gpu.median("pipeline", "chips/s") if gpu else None


def codings(report: Report) -> list[Coding]:
    """Return every compression that was measured."""
    reading = _section(report, "reading")
    names = dict.fromkeys(each.row for each in reading.measurements if each.table == "rows")
    return [
        Coding(
            name=name,
            bytes_a_chip=_needed(reading.median("bytes a chip", row=name, table="rows")),
            chips_per_s=_needed(reading.median("decoding", "chips/s", row=name, table="rows")),
        )
        for name in names
    ]


def grown(report: Report) -> dict[str, Grown]:
    """Return what merging and writing cost at the largest number of records, by name."""
    limits = _section(report, "limits")
    tables = {each.table for each in limits.measurements if each.table.endswith(" records")}
    largest = max(tables, key=lambda table: int(table.split()[0].replace(",", "")))
    return _table(report, largest)


def pages(report: Report) -> list[Grown]:
    """Return what the report page cost, fewest records first."""
    found = _table(report, "report page of one scene").values()
    return sorted(found, key=lambda each: each.rows)


def run_records(report: Report) -> list[Grown]:
    """Return what writing `run.json` once cost, fewest scenes first."""
    found = _table(report, "run.json, written once").values()
    return sorted(found, key=lambda each: each.rows)


def multiply_adds(path: Path, architecture: str) -> int:
    """Return the multiply-adds of one chip from `docs/architectures.json`."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return next(int(row["multiply_adds"]) for row in rows if row["setting"] == architecture)


def _table(report: Report, table: str) -> dict[str, Grown]:
    limits = _section(report, "limits")
    names = dict.fromkeys(each.row for each in limits.measurements if each.table == table)

    def figure(row: str, name: str, unit: str = "") -> float:
        return _needed(limits.median(name, unit, row=row, table=table))

    return {
        name: Grown(
            name=name,
            rows=int(figure(name, "rows")),
            processor_s=figure(name, "", PROCESSOR_S),
            peak_mb=figure(name, "peak", "MB"),
            size_mb=figure(name, "size", "MB"),
        )
        for name in names
    }


def _section(report: Report, name: str) -> Section:
    found = report.section(name)
    if found is None:
        raise ConfigError(f"the result has no section {name!r}: run.py --only {name}")
    return found


def _needed(value: float | None) -> float:
    if value is None:
        raise ConfigError("the result lacks a figure of the plan: run all of run.py again")
    return value
