"""The shape of a bench's result: what `run.py` writes as JSON and `bench_page` makes a page of."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError, model_validator

from damagenet.config import Settings
from damagenet.errors import ConfigError

Status = Literal["measured", "failed", "not measured"]


class Machine(Settings):
    """What the figures were measured on."""

    processor: str
    cores: int
    memory_gb: float
    gpu: str
    """Its name, or `none`."""
    system: str
    torch_threads: int
    environment: dict[str, str]
    """Variables that decide over threads and memory, where they are set."""
    versions: dict[str, str]


class Measurement(Settings):
    """One thing measured, run by run."""

    table: str = ""
    """Measurements of one table have their rows and names in common."""
    row: str = ""
    name: str
    """May be empty where the unit says all."""
    unit: str
    runs: tuple[float, ...]
    median: float

    @classmethod
    def of(
        cls, name: str, unit: str, runs: Sequence[float], *, table: str = "", row: str = ""
    ) -> "Measurement":
        """Return the measurement of these runs, at least one."""
        median = statistics.median(runs)
        return cls(table=table, row=row, name=name, unit=unit, runs=tuple(runs), median=median)

    @model_validator(mode="after")
    def _median_of_its_runs(self) -> "Measurement":
        if not self.runs or self.median != statistics.median(self.runs):
            raise ValueError(f"{self.row} {self.name}: {self.median} is not the median of its runs")
        return self


class Ratio(Settings):
    """A figure that a bar may be set for."""

    name: str
    value: float
    bar: float | None = None
    holds: Literal["at least", "at most"] = "at least"

    @property
    def passed(self) -> bool | None:
        """Whether the bar is reached; None where there is none."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.holds == "at least" else self.value <= self.bar


class Bar(Settings):
    """A figure of a benchmark's JSON that is a ratio."""

    key: str
    """Dotted path in the JSON; numbers count in lists."""
    words: str
    """What it is a ratio of."""
    bar: float | None = None
    """What the project promises; None where the ratio is only told."""
    holds: Literal["at least", "at most"] = "at least"


class Section(Settings):
    """One benchmark of the bench."""

    name: str
    title: str
    words: str
    """What was done, in a sentence or two."""
    status: Status
    note: str = ""
    """Why it failed or was not measured; else what must be known of the figures."""
    date: str
    """ISO 8601, UTC, when it ended."""
    commit: str
    command: str = ""
    seconds: float = 0.0
    load_average: float
    """Over one minute, before the section."""
    measurements: tuple[Measurement, ...] = ()
    ratios: tuple[Ratio, ...] = ()

    def median(self, name: str, unit: str = "", *, row: str = "", table: str = "") -> float | None:
        """Return the median of a measurement; None where it is not there."""
        wanted = (table, row, name, unit)
        found = (
            each.median
            for each in self.measurements
            if (each.table, each.row, each.name, each.unit) == wanted
        )
        return next(found, None)


class Report(Settings):
    """What the bench found, each section by its last run."""

    format_version: Literal[1] = 1
    smoke: bool = False
    """Made to see whether everything runs: tiny scenes, one run; the figures mean nothing."""
    machine: Machine
    sections: tuple[Section, ...]

    def section(self, name: str) -> Section | None:
        """Return a section that was measured; None where it is missing or failed."""
        found = (each for each in self.sections if each.name == name)
        return next((each for each in found if each.status == "measured"), None)

    @property
    def contests(self) -> tuple[Section, ...]:
        """The contests that were measured, one for each network."""
        found = (each for each in self.sections if each.name.startswith("contest"))
        return tuple(each for each in found if each.status == "measured")

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of what failed: sections, and bars that were missed."""
        missed = [
            f"{section.name}: {ratio.name}"
            for section in self.sections
            for ratio in section.ratios
            if ratio.passed is False
        ]
        return (*(each.name for each in self.sections if each.status == "failed"), *missed)


def read_report(path: Path) -> Report:
    """Return the report in a JSON file; raise ConfigError where there is none."""
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror}") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path} is no result of run.py: {where}: {first['msg']}") from err
