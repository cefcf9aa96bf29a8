"""The bench's result as a page: everything on it comes from the JSON."""

from collections.abc import Iterator, Sequence

from bench_result import Measurement, Ratio, Report, Section

NOT_AHEAD = """\
## Where others are ahead

Nothing here was measured, but all of it is documented by those who make it:

- **TorchGeo** reads any set of rasters on the fly, many bands and sensors, and aligns and
  mosaics them by place and time; it comes with ready data sets and with weights pre-trained on
  multispectral and radar imagery. damagenet reads three bands of one or two pictures, for one task.
- **Raster Vision** does semantic segmentation and object detection besides the classification of
  chips, has plugins that run a pipeline on AWS Batch and SageMaker, and describes a whole
  experiment in one configuration.
- The contenders' programs are what their documentation tells a user to write, a page each that
  anyone can change (`benchmarks/contenders/`), not what an expert could make of them.
- Speed of training was not compared.
"""

BUSY = 0.5
"""Load average above the number of cores that the bench itself does not make."""
ROWS = "rows"
"""A table's key that says nothing."""


def page(report: Report) -> str:
    """Return the page in Markdown."""
    parts = [
        "# Benchmarks",
        "Written by `python benchmarks/run.py` from the JSON beside it: do not edit it by hand, "
        "`--report-only` writes it anew.",
        *([_SMOKE] if report.smoke else []),
        _machine(report),
        summary(report),
        *(_section(section, report.machine.cores) for section in report.sections),
        NOT_AHEAD.strip(),
    ]
    return "\n\n".join(parts) + "\n"


_SMOKE = "**A smoke run: it shows that everything runs; its figures mean nothing.**"


def _machine(report: Report) -> str:
    machine = report.machine
    environment = ", ".join(f"{name}={value}" for name, value in machine.environment.items())
    versions = ", ".join(f"{name} {value}" for name, value in machine.versions.items())
    rows = [
        ("processor", f"{machine.processor}, {machine.cores} cores"),
        ("memory", f"{machine.memory_gb:g} GB"),
        ("GPU", machine.gpu),
        ("system", machine.system),
        ("threads of torch", str(machine.torch_threads)),
        ("environment", environment or "nothing set"),
        ("versions", versions),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def summary(report: Report) -> str:
    """Return all bars in one table, what failed or was not measured, and who was ahead."""
    lines = ["## Bars", "", "| section | ratio | measured | bar | |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {section.title} | {ratio.name} | {_number(ratio.value)} | "
        f"{ratio.holds} {_number(ratio.bar)} | {'reached' if ratio.passed else '**missed**'} |"
        for section in report.sections
        for ratio in section.ratios
        if ratio.bar is not None
    ]
    others = [each for each in report.sections if each.status != "measured"]
    if others:
        lines += ["", *(f"- **{each.title}**: {each.status}. {each.note}" for each in others)]
    return "\n".join([*lines, *_standing(report)])


def _standing(report: Report) -> list[str]:
    """Return who was ahead in the contests, and by how much."""
    found = [ratio for contest in report.contests for ratio in contest.ratios]
    lines = ["", "## Who was ahead", ""] if found else []
    for ratio in found:
        ahead = "damagenet was ahead" if ratio.value > 1 else "**the other was ahead**"
        lines.append(f"- {ratio.name}: {_number(ratio.value)}; {ahead}")
    return lines


def _section(section: Section, cores: int) -> str:
    lines = [f"## {section.title}", "", section.words]
    if section.note:
        lines += ["", section.note]
    lines += [
        "",
        f"`{section.command}` took {section.seconds:,.0f} s on {section.date}, commit "
        f"{section.commit}; load average before it {section.load_average:g}.",
    ]
    if section.load_average > cores + BUSY:
        lines += ["", "**Other programs were running: rates are too low, ratios uncertain.**"]
    if section.status != "measured":
        lines += ["", f"**{section.status.capitalize()}.**"]
    lines += _tables(section.measurements)
    if section.ratios:
        lines += ["", *map(_ratio, section.ratios)]
    return "\n".join(lines)


def _tables(measured: Sequence[Measurement]) -> Iterator[str]:
    """Yield the lines of one table for each `table`, what has none coming first."""
    for table in sorted({each.table for each in measured}, key=lambda name: (name != "", name)):
        yield ""
        own = [each for each in measured if each.table == table]
        yield from _pivoted(own) if table else _listed(own)


def _listed(measured: Sequence[Measurement]) -> Iterator[str]:
    yield "| | median | runs |"
    yield "|---|---:|---:|"
    for each in measured:
        yield f"| {_column(each)} | {_cell(each)} | {len(each.runs)} |"


def _pivoted(measured: Sequence[Measurement]) -> Iterator[str]:
    """Yield a table with a line for each row and a column for each name."""
    columns = list(dict.fromkeys(map(_column, measured)))
    cells = {(each.row, _column(each)): _cell(each) for each in measured}
    title = "" if measured[0].table == ROWS else f" {measured[0].table}"
    yield f"|{title} | {' | '.join(columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for row in dict.fromkeys(each.row for each in measured):
        yield f"| {row} | {' | '.join(cells.get((row, column), '') for column in columns)} |"


def _column(measured: Measurement) -> str:
    return ", ".join(filter(None, (measured.name, measured.unit)))


def _cell(measured: Measurement) -> str:
    """Return the median, and least and most of several runs."""
    told = _number(measured.median)
    if len(measured.runs) == 1:
        return told
    return f"{told} ({_number(min(measured.runs))} to {_number(max(measured.runs))})"


def _ratio(ratio: Ratio) -> str:
    told = f"- {ratio.name}: **{_number(ratio.value)}**"
    if ratio.bar is None:
        return told
    verdict = "reached" if ratio.passed else "missed"
    return f"{told} (bar: {ratio.holds} {_number(ratio.bar)}, {verdict})"


def _number(value: float) -> str:
    """Return three digits that count, or all digits before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-3 else f"{value:.1e}"
