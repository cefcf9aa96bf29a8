"""An adaptation as tables and sentences for a person to read."""

from collections.abc import Iterator

from rich.table import Table

from damagenet.adapt.comparing import GAINS
from damagenet.adapt.report import AdaptReport, Comparison
from damagenet.evaluation.score_tables import HEADINGS, PERCENT
from damagenet.evaluation.scores import Estimate


def adaptation_tables(report: AdaptReport) -> Iterator[Table | str]:
    """Yield tables and sentences, in the order in which they are read."""
    labels = report.labels
    yield (
        f"{report.model} from {report.base}: {labels.fitted} labels fitted "
        f"({labels.fitted_damaged} damaged), {labels.aside} aside ({labels.aside_damaged} damaged, "
        f"{labels.aside_random} drawn at random) in {labels.aside_blocks} blocks of "
        f"{labels.block_m:g} m"
    )
    if labels.left_out:
        left = ", ".join(f"{count} {why}" for why, count in labels.left_out.items())
        yield f"labels left out: {left}"
    what = f"the last {report.stages} stages and the head" if report.stages else "the head alone"
    yield f"what learned: {what}; {report.why}"
    yield _table("labels kept aside", report.aside)
    yield report.aside.note
    if report.base_task is None:
        yield f"base task: {report.base_task_note}"
    else:
        yield _table("base task: tiles that training has not touched", report.base_task)
        yield report.base_task_note
    low, high = report.uncertain_band
    band = f", uncertain from {low:.3f} to {high:.3f}" if low < high else ""
    yield f"damaged from p = {report.threshold:.3f}{band}; {report.seconds:.0f} s"
    yield f"written: {report.bundle}"


def _table(title: str, comparison: Comparison) -> Table:
    table = Table(title=title)
    scores = comparison.before
    table.add_column(f"{scores.damaged} damaged, {scores.undamaged} undamaged", no_wrap=True)
    for metric in GAINS:
        table.add_column(HEADINGS[metric], justify="right")
    rows = {
        "before": [comparison.before.estimate(metric) for metric in GAINS],
        "after": [comparison.after.estimate(metric) for metric in GAINS],
        "gain": [comparison.gain[metric] for metric in GAINS],
    }
    for name, estimates in rows.items():
        cells = zip(GAINS, estimates, strict=True)
        table.add_row(name, *(_cell(one, metric, signed=name == "gain") for metric, one in cells))
    return table


def _cell(estimate: Estimate, metric: str, *, signed: bool) -> str:
    if estimate.value is None:
        return "-"
    scale, digits = (100, 1) if metric in PERCENT else (1, 3)
    sign = "+" if signed else ""
    text = f"{scale * estimate.value:{sign}.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return text
    low, high = scale * estimate.low, scale * estimate.high
    return f"{text}\n{low:{sign}.{digits}f} to {high:{sign}.{digits}f}"
