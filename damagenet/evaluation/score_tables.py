"""Scores as tables for a person to read."""

from collections.abc import Iterator

from rich.table import Table

from damagenet.evaluation.intervals import MIN_BLOCKS
from damagenet.evaluation.metrics import METRICS
from damagenet.evaluation.score_report import SHOWN, EvaluationReport, FoldScores
from damagenet.evaluation.scores import HOLD_IT, Estimate, Scores
from damagenet.evaluation.survey_scores import SurveyedUnits, SurveyReport
from damagenet.evaluation.truth import elsewhere_told, words_told

HEADINGS = {
    "accuracy": "accuracy %",
    "balanced_accuracy": "balanced %",
    "recall": "recall %",
    "false_alarm_rate": "false alarms %",
    "precision": "precision %",
    "auroc": "AUROC",
    "brier": "Brier",
    "calibration_error": "calib. error",
}
PERCENT = ("accuracy", "balanced_accuracy", "recall", "false_alarm_rate", "precision")


def report_tables(report: EvaluationReport | SurveyReport) -> Iterator[Table | str]:
    """Yield tables and sentences, in the order in which they are read."""
    if isinstance(report, SurveyReport):
        yield from _survey_tables(report)
        return
    shown = SHOWN[report.protocol]
    table = _make_table(f"protocol {report.protocol}", "held out", shown)
    for fold in report.folds:
        table.add_row(*score_cells(fold.fold, fold.scores, shown))
    yield table
    for fold in report.folds:
        yield from _remarks(fold)
    for fold_name, why in report.not_scored.items():
        yield f"{fold_name}: not scored: {why}"
    yield from interval_remark([fold.scores for fold in report.folds])
    for model, threshold in dict.fromkeys((fold.model, fold.threshold) for fold in report.folds):
        if threshold is None:
            continue
        yield f"{model}: damaged from p = {threshold:.3f}; 95 % intervals below the figures"


def _survey_tables(report: SurveyReport) -> Iterator[Table | str]:
    join = report.join
    how = "id" if join.joined_by == "id" else "nearest within 10 m"
    yield (
        f"{join.matched} units joined to {report.truth.name} by {how}; without a counterpart: "
        f"{join.units_unmatched} units, {join.truth_unmatched} surveyed buildings"
        + elsewhere_told(join)
    )
    yield words_told(join.words)
    if join.truth_ignored:
        yield "left out: " + _counted(join.truth_ignored)
    yield _whether_seen(report)
    table = _make_table(f"{report.results} against {report.truth}", "scene", tuple(HEADINGS))
    rows = list(report.scenes if len(report.scenes) == 1 else (*report.scenes, report.overall))
    rows += [] if report.unseen is None else [report.unseen]
    for units in rows:
        if units.scores is not None:
            table.add_row(*score_cells(units.scene, units.scores, tuple(HEADINGS)))
    yield table
    yield from interval_remark([units.scores for units in rows if units.scores is not None])
    for units in rows:
        yield _verdicts(units)
        if units.scores is not None:
            yield f"{units.scene}: {_confusion(units.scores)}"


def _whether_seen(report: SurveyReport) -> str:
    """Say how many of the units are no test, as the model has learned from their ground."""
    model, units = report.model or "the model", report.join.matched
    if report.seen is None:
        return (
            f"whether {model} learned from these units is unknown: its bundle is not where it was, "
            "or no assessment lies beside the results"
        )
    if not report.seen:
        return f"none of the units stands on ground that {model} learned from"
    rest = "the last row has the others" if report.unseen else "this is no test of it"
    return (
        f"{report.seen} of {units} units stand on ground that {model} learned from: their scores "
        f"flatter it; {rest}"
    )


def _verdicts(units: SurveyedUnits) -> str:
    uncertain = units.uncertain_damaged + units.uncertain_undamaged
    hidden = f" ({_counted(units.not_judged)})" if units.not_judged else ""
    return (
        f"{units.scene}: of {units.units} units {units.decided} got a verdict "
        f"({100 * units.share_decided:.0f} %), {uncertain} are uncertain "
        f"({units.uncertain_damaged} of them damaged in truth), "
        f"{sum(units.not_judged.values())} were not judged{hidden}"
    )


def _remarks(fold: FoldScores) -> Iterator[str]:
    yield f"{fold.fold}: {_confusion(fold.scores)}"
    if fold.scores.calibration_limit is not None:
        yield (
            f"{fold.fold}: probabilities that mean what they say would show a calibration error "
            f"up to {fold.scores.calibration_limit:.3f} (95 % of draws)"
        )
    if fold.note:
        yield f"{fold.fold}: {fold.note}"
    if fold.left_out:
        yield f"{fold.fold}: left out: {_counted(fold.left_out)}"


def _confusion(scores: Scores) -> str:
    matrix = scores.confusion
    return (
        f"of the damaged {matrix.damaged_found} found and {matrix.damaged_missed} missed, of the "
        f"undamaged {matrix.undamaged_kept} kept and {matrix.undamaged_flagged} flagged"
    )


def interval_remark(scored: list[Scores]) -> Iterator[str]:
    """Yield a sentence where blocks are too few for the usual intervals."""
    few = [scores.blocks for scores in scored if scores.blocks < MIN_BLOCKS]
    if few:
        least, most = min(few), max(few)
        count = f"{least} to {most}" if least < most else f"{least}"
        yield (
            f"with {count} spatial block(s), fewer than {MIN_BLOCKS}, intervals are "
            "exact binomial ones: too narrow where neighbours are alike"
        )
    sparse = [
        metric.replace("_", " ")
        for metric in METRICS
        if any(HOLD_IT in scores.estimate(metric).note for scores in scored)
    ]
    if sparse:
        yield (
            f"fewer than {MIN_BLOCKS} of the spatial blocks hold what is counted for "
            f"{', '.join(sparse)}: shares have exact binomial intervals, too narrow where "
            "neighbours are alike, and the rest none"
        )


def _make_table(title: str, first: str, metrics: tuple[str, ...]) -> Table:
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for heading in score_headings(metrics):
        table.add_column(heading, justify="right")
    return table


def score_headings(metrics: tuple[str, ...]) -> list[str]:
    """Return the headings of `score_cells`, without the first."""
    chosen = [heading for metric, heading in HEADINGS.items() if metric in metrics]
    return ["damaged", "undamaged", "blocks", "always damaged %", *chosen]


def score_cells(name: str, scores: Scores, metrics: tuple[str, ...]) -> list[str]:
    """Return a row: what was scored, how many, and the metrics with intervals below them."""
    baseline = scores.always_damaged_accuracy
    return [
        name,
        str(scores.damaged),
        str(scores.undamaged),
        str(scores.blocks),
        "-" if baseline is None else f"{100 * baseline:.1f}",
        *(
            _cell(scores.estimate(metric), percent=metric in PERCENT)
            for metric in HEADINGS
            if metric in metrics
        ),
    ]


def _cell(estimate: Estimate, *, percent: bool) -> str:
    if estimate.value is None:
        return "-"
    scale, digits = (100, 1) if percent else (1, 3)
    text = f"{scale * estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text}\n{scale * estimate.low:.{digits}f}–{scale * estimate.high:.{digits}f}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())
