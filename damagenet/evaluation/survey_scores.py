"""Scores of an assessment against survey truth, scene by scene and over all."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from damagenet.config import Settings
from damagenet.errors import EvaluationError
from damagenet.evaluation.contradictions import refuse_contradictions
from damagenet.evaluation.learned_from import assessments_beside, ground_learned_from
from damagenet.evaluation.metrics import Sample, make_sample
from damagenet.evaluation.reliability import ReliabilityBin, reliability_bins, reliability_svg
from damagenet.evaluation.results import read_results, results_file
from damagenet.evaluation.score_report import write_text
from damagenet.evaluation.scores import Scores, score_sample
from damagenet.evaluation.seen_ground import Mask, seen_points
from damagenet.evaluation.survey_options import Words
from damagenet.evaluation.truth import Join, join_survey, read_survey
from damagenet.labels import Label
from data_prep.tile_ground import spatial_blocks

ALL_SCENES = "all"
UNSEEN_GROUND = "all, unseen ground"


class SurveyedUnits(Settings):
    """What became of the surveyed units of one scene, or of all.

    The verdicts' scores (accuracy, recall, false alarms, precision) rest on the units called
    damaged or undamaged; AUROC, Brier score and calibration error on the uncertain ones too.
    """

    scene: str
    """File name of the scene, or `all`."""
    units: int
    """Units with a surveyed counterpart."""
    decided: int
    """Units called damaged or undamaged."""
    uncertain_damaged: int
    """Units called uncertain that are damaged in truth."""
    uncertain_undamaged: int
    not_judged: dict[str, int] = Field(default_factory=dict)
    """Units that were not judged, by reason."""
    scores: Scores | None
    """None where no unit was judged."""

    @property
    def share_decided(self) -> float:
        """Share of the units that got a verdict, 0..1."""
        return self.decided / self.units


class SurveyReport(Settings):
    """An assessment against a survey."""

    results: Path
    truth: Path
    field: str
    join: Join
    scenes: tuple[SurveyedUnits, ...]
    overall: SurveyedUnits
    reliability: tuple[ReliabilityBin, ...]
    """Over all judged units."""
    model: str
    """Name and short hash of the model; blank where the results name none, or several."""
    seen: int | None
    """Units with a counterpart that stand on ground the model learned from, so that their scores
    flatter it; None where nobody can say, as its bundle is not found."""
    unseen: SurveyedUnits | None
    """The units on other ground, where some stand on either."""


def evaluate_results(
    results: Path, truth: Path, field: str, words: Words, *, id_field: str | None = None
) -> SurveyReport:
    """Join an assessment to survey truth and score it.

    Args:
        results: Folder of a run or of one scene in it, or one of its `damage.*` files.
        truth: File of surveyed buildings.
        field: Column of the survey with the class.
        words: What the words in it mean.
        id_field: Column of the survey with the ids that the results carry.

    Raises:
        EvaluationError: If a file cannot be used, nothing matches, nothing that matches was
            judged, or the survey calls one building both damaged and undamaged.
        FootprintError: If the survey cannot be read.
        DataError: If no surveyed building has a place on the Earth.
    """
    survey = read_survey(truth, field, words, id_field=id_field)
    refuse_contradictions(survey.frame, source=truth.name)
    units = read_results(results)
    matched, join = join_survey(units, survey)
    judged = matched[matched["p_damaged"].notna()]
    if judged.empty:
        raise EvaluationError(
            f"none of the {len(matched)} units that match the survey was judged: "
            f"{_reasons(matched)}"
        )
    scenes = tuple(_surveyed(str(name), part) for name, part in matched.groupby("scene"))
    only = scenes[0].model_copy(update={"scene": ALL_SCENES}) if len(scenes) == 1 else None
    models = {model for model in units["model"] if model}
    model = models.pop() if len(models) == 1 else ""
    seen = _seen(matched, results_file(results), model)
    return SurveyReport(
        results=results_file(results),
        truth=truth,
        field=field,
        join=join,
        scenes=scenes,
        overall=only or _surveyed(ALL_SCENES, matched),
        reliability=reliability_bins(judged["p_damaged"], judged["damaged_in_truth"]),
        model=model,
        seen=None if seen is None else int(seen.sum()),
        unseen=None if seen is None else _unseen(matched, seen),
    )


def _seen(matched: pd.DataFrame, path: Path, model: str) -> Mask | None:
    """Say of each unit whether the model learned from its ground; None where nobody can."""
    learned = ground_learned_from(assessments_beside(path, set(matched["scene"]), model))
    return None if learned is None else seen_points(matched[["lon", "lat"]].to_numpy(), learned)


def _unseen(matched: pd.DataFrame, seen: Mask) -> SurveyedUnits | None:
    """Return the units on ground of which nothing was learned, where there are both kinds."""
    return _surveyed(UNSEEN_GROUND, matched[~seen]) if seen.any() and not seen.all() else None


def write_survey_report(folder: Path, report: SurveyReport) -> list[Path]:
    """Write `survey.json` and `survey_reliability.svg`; raise OutputError if they cannot be."""
    title = f"{report.results.parent.name} against {report.truth.name}"
    return [
        write_text(folder / "survey.json", report.model_dump_json(indent=2) + "\n"),
        write_text(folder / "survey_reliability.svg", reliability_svg(report.reliability, title)),
    ]


def _surveyed(scene: str, units: pd.DataFrame) -> SurveyedUnits:
    judged = units[units["p_damaged"].notna()]
    uncertain = units[units["label"] == Label.UNCERTAIN]["damaged_in_truth"]
    return SurveyedUnits(
        scene=scene,
        units=len(units),
        decided=int(units["label"].isin([Label.DAMAGED, Label.UNDAMAGED]).sum()),
        uncertain_damaged=int(uncertain.sum()),
        uncertain_undamaged=int((~uncertain.astype(bool)).sum()),
        not_judged=_reasons(units),
        scores=score_sample(_sample(judged)) if len(judged) else None,
    )


def _reasons(units: pd.DataFrame) -> dict[str, int]:
    reasons = units[units["p_damaged"].isna()]["reason"].value_counts()
    return {str(reason): int(count) for reason, count in reasons.items()}


def _sample(judged: pd.DataFrame) -> Sample:
    placed = judged[["lon", "lat"]].notna().all(axis=1).to_numpy()
    blocks = np.full(len(judged), -1)  # units without a place are one block of their own
    blocks[placed] = spatial_blocks(judged["lon"][placed], judged["lat"][placed])
    return make_sample(
        judged["p_damaged"],
        judged["damaged_in_truth"],
        flagged=judged["label"] == Label.DAMAGED,
        decided=judged["label"].isin([Label.DAMAGED, Label.UNDAMAGED]),
        blocks=blocks,
        groups=judged["scene"],
    )
