"""The page of an evaluation by every protocol: tables, plots and what they mean, in one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from damagenet import __version__
from damagenet.card import flags_in_words
from damagenet.evaluation.options import Protocol
from damagenet.evaluation.protocols import ALL
from damagenet.evaluation.reliability import reliability_svg
from damagenet.evaluation.score_report import SHOWN, EvaluationReport, FoldScores
from damagenet.evaluation.score_tables import interval_remark, score_cells, score_headings
from damagenet.outputs.templates import page_template

TEMPLATE = "evaluation.html"

MEANING: dict[Protocol, str] = {
    "published": "As in the papers, for comparison only: its training and test tiles share ground "
    "and dates, so that this figure says little about another place or storm.",
    "deduplicated": "The same network on the test tiles that share no file and no ground with "
    "training. The dates are still those of training.",
    "region": "Towns that no training tile comes from, each by itself.",
    "acquisition": "Satellite passes that no training tile comes from, each by itself: another "
    "angle, another light, another day.",
    "post-event": "Buildings seen after the storm, intact ones among them: what the tool is used "
    "for. One threshold for all scenes; AUROC counts pairs inside one scene only.",
    "shortcuts": "The same tiles with all cues but one taken away: what the network leans on.",
}


def make_page(
    subject: str,
    reports: Sequence[EvaluationReport],
    not_scored: Mapping[str, str],
    *,
    created: str,
) -> str:
    """Return the page as HTML.

    Args:
        subject: Recipe or model.
        reports: One for each protocol.
        not_scored: Protocols that could not be applied, and why.
        created: ISO 8601.
    """
    return page_template(TEMPLATE, Path(__file__).parent).render(
        version=__version__,
        subject=subject,
        created=created,
        sentence=_sentence(reports),
        sections=[_section(report) for report in reports],
        not_scored=not_scored,
    )


def _section(report: EvaluationReport) -> dict[str, object]:
    shown = SHOWN[report.protocol]
    scored = [fold.scores for fold in report.folds]
    return {
        "name": report.protocol,
        "meaning": MEANING[report.protocol],
        "headings": score_headings(shown),
        "rows": [score_cells(fold.fold, fold.scores, shown) for fold in report.folds],
        "remarks": [
            *(f"{fold.fold}: {fold.note}" for fold in report.folds if fold.note),
            *(f"{name}: not scored: {why}" for name, why in report.not_scored.items()),
            *interval_remark(scored),
        ],
        "plots": [_plot(fold) for fold in report.folds if fold.reliability],
    }


def _plot(fold: FoldScores) -> str:
    return reliability_svg(fold.reliability, fold.fold)


def _sentence(reports: Sequence[EvaluationReport]) -> str:
    """Return what a reader must know first, from the scenes after the storm taken together."""
    for fold in (fold for report in reports for fold in report.folds):
        if fold.unit == "buildings" and fold.fold == ALL:
            return flags_in_words(fold.scores.false_alarm_rate, fold.scores.recall)
    return flags_in_words(None, None)
