"""`summary.json`: one scene's result in numbers and in honest words."""

from collections.abc import Sequence
from pathlib import Path

from damagenet import __version__
from damagenet.assessment import Assessment, Counts, PreInfo, SceneInfo
from damagenet.card import Card, Score
from damagenet.config import Settings
from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears
from damagenet.outputs.compared import Compared
from damagenet.outputs.trust import promised, trust
from damagenet.outputs.words import CLOUD_NOTES, MEANINGS, REASONS, WINDOW_NOTE
from damagenet.rules import Rules

SUMMARY_FILE = "summary.json"
SUMMARY_FORMAT = 1


class Shares(Settings):
    """Shares of the judged units, 0..1; None where nothing was judged."""

    damaged: float | None
    undamaged: float | None
    uncertain: float | None


class Licences(Settings):
    """Under which terms the result may be used."""

    model: str
    training_data: str
    non_commercial: bool


class ModelSummary(Settings):
    """Which model said so, and how good it was where it was measured."""

    name: str
    weights_sha256: str
    threshold: float
    """The probability from which a unit counted as damaged, in this assessment."""
    uncertain_band: tuple[float, float]
    """Probabilities strictly inside are uncertain, in this assessment."""
    prior: float
    """Share of damaged units at which the probabilities mean what they say."""
    scores: tuple[Score, ...]
    """As measured after a storm, on buildings the model had not seen."""


class Strange(Settings):
    """How strange the scene looks to the model, 1.0 being held-out ground of its training."""

    distance: float | None
    """None where it was not measured."""
    limit: float | None
    """95 % of the held-out blocks lie below."""


class Summary(Settings):
    """The keys of `summary.json`; they stay, later versions only add."""

    format_version: int
    headline: str
    sentence: str
    ranking_only: bool
    """True where the counts must not be read as counts."""
    trust: dict[str, str]
    """Whether the probabilities may be trusted, in sentences: `calibration`, `strangeness`, and
    with --max-error `confidence`."""
    errors_promised: bool
    """True where --max-error is kept and promised for this scene."""
    strangeness: Strange
    counts: Counts
    judged: int
    """Units with a verdict: damaged, undamaged or uncertain."""
    shares: Shares
    meanings: dict[str, str]
    reasons: dict[str, str]
    clouds: str
    """Whether hidden ground was looked for, in words."""
    window: str
    licences: Licences
    kind: str
    """building or cell"""
    scene: SceneInfo
    pre: PreInfo | None = None
    """The picture before the storm and its shift, where the model compares two."""
    model: ModelSummary
    warnings: tuple[str, ...]
    files: tuple[str, ...]
    """Names of the files beside this one."""
    key: str
    created: str
    seconds: float
    damagenet: str
    """Version of damagenet."""
    compared: Compared | None = None
    """What other scenes of the run say of the same buildings; None where there are none."""


def summarise(assessment: Assessment, files: Sequence[str] = ()) -> Summary:
    """Return the summary of an assessment whose results were written into `files`."""
    card, counts = assessment.card, assessment.counts
    rules = Rules.of(card, assessment.options)
    judged = counts.damaged + counts.undamaged + counts.uncertain
    return Summary(
        format_version=SUMMARY_FORMAT,
        headline=card.headline,
        sentence=card.sentence,
        ranking_only=card.ranking_only,
        trust=trust(assessment),
        errors_promised=rules.kept == "kept" and promised(assessment),
        strangeness=Strange(
            distance=assessment.strangeness,
            limit=None if card.strangeness is None else card.strangeness.limit,
        ),
        counts=counts,
        judged=judged,
        shares=Shares(
            damaged=_share(counts.damaged, judged),
            undamaged=_share(counts.undamaged, judged),
            uncertain=_share(counts.uncertain, judged),
        ),
        meanings=MEANINGS,
        reasons=REASONS,
        clouds=CLOUD_NOTES[assessment.options.clouds],
        window=WINDOW_NOTE,
        licences=Licences(
            model=card.licence,
            training_data=card.training_tiles.licence,
            non_commercial=card.training_tiles.non_commercial,
        ),
        kind=assessment.kind.value,
        scene=assessment.scene,
        pre=assessment.pre,
        model=_model(card, rules),
        warnings=assessment.warnings,
        files=tuple(files),
        key=assessment.key,
        created=assessment.created,
        seconds=assessment.seconds,
        damagenet=__version__,
    )


def write_summary(path: Path, assessment: Assessment, files: Sequence[str]) -> None:
    """Write the summary; raise OutputError if the file cannot be written."""
    with appears(path) as temporary:
        text = summarise(assessment, files).model_dump_json(indent=2)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def with_compared(path: Path, compared: Compared) -> None:
    """Put into a summary on disk what other scenes say of the same buildings.

    Raises:
        OutputError: If the file cannot be read or written.
    """
    try:
        summary = Summary.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise OutputError(f"{path} is no summary of damagenet: assess the scene again") from err
    updated = summary.model_copy(update={"compared": compared if compared.shared else None})
    with appears(path) as temporary:
        temporary.write_text(f"{updated.model_dump_json(indent=2)}\n", encoding="utf-8")


def used_threshold(assessment: Assessment) -> float:
    """Return the probability from which a unit counted as damaged."""
    return Rules.of(assessment.card, assessment.options).threshold


def _model(card: Card, rules: Rules) -> ModelSummary:
    return ModelSummary(
        name=card.name,
        weights_sha256=card.weights_sha256,
        threshold=rules.threshold,
        uncertain_band=rules.uncertain_band,
        prior=card.prior if rules.calibration.prior is None else rules.calibration.prior,
        scores=tuple(score for score in card.scores if score.protocol == "post-event"),
    )


def _share(count: int, judged: int) -> float | None:
    return round(count / judged, 4) if judged else None
