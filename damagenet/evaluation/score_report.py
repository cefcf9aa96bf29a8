"""What an evaluation by a protocol found: models, JSON, reliability plots, entries for a card."""

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from damagenet.bundle import CARD_FILE, find_bundle
from damagenet.bundle_writing import with_scores
from damagenet.card import Score
from damagenet.config import Settings
from damagenet.evaluation.metrics import METRICS
from damagenet.evaluation.options import Protocol
from damagenet.evaluation.reliability import ReliabilityBin, reliability_svg
from damagenet.evaluation.scores import Scores
from damagenet.outputs.atomic import appears

SHOWN: dict[Protocol, tuple[str, ...]] = {
    "published": tuple(METRICS),
    "deduplicated": tuple(METRICS),
    "region": tuple(METRICS),
    "acquisition": tuple(METRICS),
    "shortcuts": ("balanced_accuracy", "recall", "false_alarm_rate", "auroc"),
    "post-event": (
        "accuracy",
        "recall",
        "false_alarm_rate",
        "auroc",
        "brier",
        "calibration_error",
    ),
}
"""What a protocol's table and a card show.

Balanced accuracy and precision mean nothing over scenes that hold one class each.
"""


class FoldScores(Settings):
    """The scores of one network on what one fold holds out."""

    fold: str
    """What was held out: a region, a scene, or `all`."""
    unit: str
    """What was scored: tiles or buildings."""
    model: str
    """Name and short hash of the network."""
    bundle: Path | None
    """Its folder; None where several networks are counted together."""
    threshold: float | None
    """Probability from which a unit counts as damaged, from the bundle; None where each of several
    networks has its own."""
    scores: Scores
    left_out: dict[str, int] = Field(default_factory=dict)
    """Units that were not scored, by reason."""
    reliability: tuple[ReliabilityBin, ...]
    note: str = ""


class EvaluationReport(Settings):
    """An evaluation by one protocol."""

    protocol: Protocol
    folds: tuple[FoldScores, ...]
    not_scored: dict[str, str] = Field(default_factory=dict)
    """Folds that could not be scored with this model, and why."""
    notes: tuple[str, ...] = ()
    command: str
    created: str
    """ISO 8601, UTC."""


def card_scores(protocol: Protocol, folds: Iterable[FoldScores]) -> list[Score]:
    """Return every figure that exists as an entry for a bundle's card."""
    return [
        Score(
            protocol=protocol,
            fold=fold.fold,
            metric=metric,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            note=estimate.note,
        )
        for fold in folds
        for metric in SHOWN[protocol]
        if (estimate := fold.scores.estimate(metric)).value is not None
    ]


def write_report(folder: Path, report: EvaluationReport) -> list[Path]:
    """Write `<protocol>.json` and one reliability plot per fold.

    Returns:
        The files that were written.

    Raises:
        OutputError: If they cannot be written.
    """
    path = folder / f"{report.protocol}.json"
    write_text(path, report.model_dump_json(indent=2) + "\n")
    plots = [
        write_text(
            folder / f"{report.protocol}_{_as_file_name(fold.fold)}_reliability.svg",
            reliability_svg(fold.reliability, f"{report.protocol}, {fold.fold}: {fold.model}"),
        )
        for fold in report.folds
    ]
    return [path, *plots]


def _as_file_name(fold: str) -> str:
    """Return a fold's name without blanks and what else a file name had better not hold."""
    return re.sub(r"[^\w.+-]+", "-", fold)


def write_text(path: Path, text: str) -> Path:
    """Write a small file, whole or not at all; raise OutputError if it cannot be."""
    with appears(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def write_cards(report: EvaluationReport) -> list[Path]:
    """Keep the scores in the cards of the bundles they belong to; return the cards' paths.

    Raises:
        BundleError: If a bundle is gone.
        OutputError: If a card cannot be written.
    """
    folders = dict.fromkeys(fold.bundle for fold in report.folds if fold.bundle is not None)
    for folder in folders:
        own = [fold for fold in report.folds if fold.bundle == folder]
        with_scores(folder, card_scores(report.protocol, own))
    return [folder / CARD_FILE for folder in folders]


def write_recipe_card(report: EvaluationReport, model: str) -> Path:
    """Keep the scores of a recipe's folds in the card of a bundle that the whole recipe made.

    Args:
        report: Of the recipe; each note says that the score is a fold's.
        model: Folder of the bundle.

    Raises:
        BundleError: If there is no such bundle.
        OutputError: If its card cannot be written.
    """
    scores = [
        score.model_copy(update={"note": f"{FOLD_NOTE}; {score.note}".rstrip("; ")})
        for score in card_scores(report.protocol, report.folds)
    ]
    folder = find_bundle(model)
    with_scores(folder, scores)
    return folder / CARD_FILE


FOLD_NOTE = "of networks by the same recipe, each scored on what it was kept from"
