"""What a person reads when a run is over: on stderr, the honest part first."""

from typing import TYPE_CHECKING

from damagenet.assessment import Assessment, Counts
from damagenet.engine.run_record import FAILURES_FILE
from damagenet.labels import Kind, Reason
from damagenet.outputs.trust import run_trust
from damagenet.outputs.words import CLOUD_NOTES, advice

if TYPE_CHECKING:
    from damagenet.engine.run_result import RunResult


def summary_lines(result: "RunResult") -> list[str]:
    """Return the summary of a run: headline, sentence, counts per scene, where the files are."""
    lines = honest_lines(result.assessments)
    for assessment in result.assessments:
        lines.append(f"{assessment.stem}: {counts_text(assessment.counts, assessment.kind)}")
        report = assessment.folder / "report.html"
        lines.append(f"  {report if report.exists() else assessment.folder}")
    lines += _cloud_lines(result.assessments)
    if result.failures:
        # Each was named when it failed.
        failed, scenes = len(result.failures), len(result.run.scenes)
        lines.append(f"{failed} of {scenes} scenes failed: see {result.out / FAILURES_FILE}")
    lines += list(result.warnings)
    if result.merged:
        lines.append(f"all scenes: {', '.join(str(path) for path in result.merged)}")
    licence = _licence_line(result.assessments)
    return [*lines, licence] if licence else lines


def honest_lines(assessments: tuple[Assessment, ...]) -> list[str]:
    """Return what must be read before the counts: how good it is, and what to trust."""
    if not assessments:
        return []
    card = assessments[0].card
    said = (card.headline, card.sentence, advice(card), *run_trust(assessments).values())
    return [line for line in said if line]


def _cloud_lines(assessments: tuple[Assessment, ...]) -> list[str]:
    """Return what was done about hidden ground, where it matters to the counts."""
    hidden = any(one.counts.not_judged.get(Reason.OBSCURED) for one in assessments)
    ways = {one.options.clouds for one in assessments}
    return [CLOUD_NOTES[way] for way in sorted(ways) if hidden or way == "ignore"]


def counts_text(counts: Counts, kind: Kind) -> str:
    """Return the counts of one scene in words, as in `12 buildings: 3 damaged, 9 undamaged`."""
    words = [
        f"{counts.damaged} damaged",
        f"{counts.undamaged} undamaged",
        f"{counts.uncertain} uncertain",
    ]
    if counts.not_judged:
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts.not_judged.items())
        words.append(f"{sum(counts.not_judged.values())} not judged ({reasons})")
    if counts.empty_cells:
        words.append(f"{counts.empty_cells} empty cells left out")
    return f"{counts.units} {kind}s: {', '.join(words)}"


def _licence_line(assessments: tuple[Assessment, ...]) -> str:
    if not assessments or not assessments[0].card.training_tiles.non_commercial:
        return ""
    card = assessments[0].card
    return f"Non-commercial use only: model {card.name} is licensed {card.licence.rstrip('.')}."
