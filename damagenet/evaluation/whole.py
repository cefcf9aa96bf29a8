"""One recipe or model by every protocol, in one report."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from damagenet.config import Settings
from damagenet.errors import DataError
from damagenet.evaluation.options import PROTOCOLS, Protocol
from damagenet.evaluation.page import make_page
from damagenet.evaluation.score_report import EvaluationReport, write_text

JSON_FILE = "evaluation.json"
PAGE_FILE = "evaluation.html"


class WholeReport(Settings):
    """What every protocol said of one recipe or model."""

    subject: str
    """Name of the recipe, or name and hash of the model."""
    reports: tuple[EvaluationReport, ...]
    not_scored: dict[str, str] = Field(default_factory=dict)
    """Protocols that could not be applied, and why."""
    command: str
    created: str
    """ISO 8601, UTC."""


def by_every_protocol(
    score: Callable[[Protocol], EvaluationReport],
) -> tuple[tuple[EvaluationReport, ...], dict[str, str]]:
    """Score by all protocols; what one of them cannot be applied to is said and not fatal.

    Args:
        score: Scores by one protocol.

    Returns:
        The reports in the order of PROTOCOLS, and why others are missing.

    Raises:
        DamageNetError: As `score` does, but for data that is missing or was seen in training.
        DataError: If no protocol could be applied.
    """
    reports: list[EvaluationReport] = []
    missing: dict[str, str] = {}
    for protocol in PROTOCOLS:
        try:
            reports.append(score(protocol))
        except DataError as err:  # also a LeakError
            missing[protocol] = str(err)
    if not reports:
        raise DataError(f"no protocol could be applied; {PROTOCOLS[0]}: {missing[PROTOCOLS[0]]}")
    return tuple(reports), missing


def write_whole(folder: Path, report: WholeReport) -> list[Path]:
    """Write `evaluation.json` and the page `evaluation.html`, which needs no network.

    Raises:
        OutputError: If they cannot be written.
    """
    page = make_page(report.subject, report.reports, report.not_scored, created=report.created)
    return [
        write_text(folder / JSON_FILE, report.model_dump_json(indent=2) + "\n"),
        write_text(folder / PAGE_FILE, page),
    ]
