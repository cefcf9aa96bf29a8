"""Studies for tests: settings that train in a second, and rows as if runs had been made."""

from collections.abc import Callable, Mapping, Sequence

from damagenet.config import make_settings
from damagenet.study.judging import summarise
from damagenet.study.plan import Run, epochs_in_all, planned_runs, recipe_of, run_key
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings
from damagenet.study.summary import StudySummary

NOISE = (0.004, -0.003, 0.001, -0.002, 0.0005)
"""What a seed adds to the score of every activation."""
STEP = 0.0002
"""How far the differences to the baseline lie apart from seed to seed."""

Scores = Callable[[Run], float | None]
"""The score of a run on the test part, 0..1; None for a run that failed."""


def make_study(**changes: Mapping[str, object]) -> StudySettings:
    """Return a study of two activations; sections of settings are merged into its own."""
    sections: dict[str, dict[str, object]] = {
        "data": {"path": "nowhere", "allow_leak": True, "augmentation": "d4"},
        "model": {"architecture": {"name": "compact_resnet", "width": 8}},
        "training": {
            "optimizer": {"name": "adamw", "weight_decay": 0.05},
            "epochs": 2,
            "batch_size": 16,
            "select_on": "balanced_accuracy",
        },
        "study": {
            "activations": ["relu", "silu"],
            "seeds": [0, 1],
            "learning_rates": [1e-3, 1e-2],
        },
    }
    for name, section in changes.items():
        sections[name] = {**sections[name], **section}
    return make_settings(StudySettings, sections)


def make_row(
    settings: StudySettings,
    run: Run,
    *,
    score: float | None = 0.9,
    validation: float | None = None,
    **changes: object,
) -> Row:
    """Return the row of a run with one score for everything; None makes a failed one."""
    scores: dict[str, object] = {"status": "failed", "reason": "EvaluationError: diverged"}
    if score is not None:
        names = ("accuracy", "balanced_accuracy", "auroc", "brier", "calibration_error")
        scores = {"status": "ok", **dict.fromkeys(names, score)}
        scores |= {"validation": score if validation is None else validation, "best_epoch": 2}
        scores |= {"seconds_per_epoch": 6.0, "peak_mb": 900.0, "saved_mb": 8.0, "parameters": 99}
    values = {
        "key": run_key(settings, run),
        "variant": run.variant.label,
        "settings": run.variant.told,
        "split": run.split,
        "seed": run.seed,
        "lr": run.lr,
        "stage": "study",
        "select_on": settings.training.select_on,
        "epochs": epochs_in_all(recipe_of(settings, run).training),
        "tiles": 48,
        "steps": 6,
        "seconds": 60.0,
        "threads": 1,
        "hardware": "a machine, 2 cores",
        "date": "2026-01-01T00:00:00+00:00",
        "damagenet": "0.1.0",
        "torch": "2.14.1",
        "data": "0" * 12,
    }
    return Row.model_validate(values | scores | changes)


def finish(
    settings: StudySettings, scores: Scores, *, most: int | None = None, **changes: object
) -> dict[str, Row]:
    """Return the rows of a study by key, in the order in which its runs would be made.

    Args:
        settings: The study.
        scores: The score of each run.
        most: Stop after so many rows.
        changes: Other columns.
    """
    labels = [variant.label for variant in settings.study.compared]
    rows: dict[str, Row] = {}
    while True:
        planned = planned_runs(settings, rows, labels)
        key = next((key for key in planned if key not in rows), None)
        if key is None or len(rows) == most:
            return rows
        rows[key] = make_row(settings, planned[key], score=scores(planned[key]), **changes)


def five_seeds(
    activations: Sequence[object] = ("relu", "silu", "mish", "gelu"), **study: object
) -> StudySettings:
    """Return a study on five seeds with other settings of its section `study`."""
    changes = {"activations": list(activations), "seeds": [0, 1, 2, 3, 4]}
    return make_study(study=changes | study)


def shifted(shifts: Mapping[str, float | None]) -> Scores:
    """Return scores that differ from the baseline's by a shift, in the mean over the seeds."""

    def score(run: Run) -> float | None:
        shift = shifts.get(run.variant.label, 0.0)
        own = STEP * (run.seed - 2) * (run.variant.label != "relu")
        return None if shift is None else 0.9 + NOISE[run.seed] + shift + own

    return score


def summary_of(shifts: Mapping[str, float | None], *, most: int | None = None) -> StudySummary:
    """Return the summary of a study on five seeds with shifted scores."""
    study = five_seeds()
    return summarise(study, finish(study, shifted(shifts), most=most).values())
