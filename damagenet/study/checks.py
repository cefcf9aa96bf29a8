"""Whether a study can be run at all: every name and value, before any data is read."""

from collections.abc import Collection

from damagenet.config import setting
from damagenet.errors import ConfigError, LeakError
from damagenet.study.plan import Run, recipe_of
from damagenet.study.settings import Candidate, StudySettings
from damagenet.training.checks import check_recipe
from data_prep.splits import check_split
from models.factory import check_model


def check_study(settings: StudySettings) -> None:
    """Check every activation, split and setting of a study without reading data.

    Raises:
        ConfigError: If a name, a parameter or a combination is unknown or out of range, or the
            recipe sets what the study varies; the message names the dotted path.
        LeakError: If a split leaks and the settings do not allow it.
    """
    study = settings.study
    if not study.activations:
        raise ConfigError("study.activations is empty: name the activations to compare")
    _refuse_varied(settings)
    for split in dict.fromkeys((*study.splits, study.tuning_split)):
        with setting("study.splits" if split in study.splits else "study.lr_split"):
            check_split(split)
        if split == "published" and not settings.data.allow_leak:
            raise LeakError(
                "study.splits: 'published' shares ground between training and test: set "
                "data.allow_leak to true, or leave it out"
            )
    for candidate in study.activations:
        with setting(f"study.activations ({candidate.label})"):
            check_model(recipe_of(settings, _any_run(settings, candidate)).model)
    check_recipe(recipe_of(settings, _any_run(settings, study.activations[0])))


def chosen_labels(settings: StudySettings, only: Collection[str]) -> tuple[str, ...]:
    """Return the labels that `only` names, or all where it names none, in the study's order.

    Raises:
        ConfigError: If one is no activation of the study.
    """
    labels = tuple(candidate.label for candidate in settings.study.activations)
    unknown = sorted(set(only) - set(labels))
    if unknown:
        raise ConfigError(
            f"--only {unknown[0]!r} is no activation of this study; choose from: "
            f"{', '.join(labels)}"
        )
    return tuple(label for label in labels if not only or label in only)


def _any_run(settings: StudySettings, candidate: Candidate) -> Run:
    study = settings.study
    return Run(
        candidate=candidate,
        split=study.splits[0],
        seed=study.seeds[0],
        lr=study.learning_rates[0],
    )


def _refuse_varied(settings: StudySettings) -> None:
    """Refuse settings of the recipe that the study would overwrite in silence."""
    optimizer = settings.training.optimizer
    varied = {
        "data.split": ("split" in settings.data.model_fields_set, "study.splits"),
        "model.activation": ("activation" in settings.model.model_fields_set, "study.activations"),
        "training.seed": ("seed" in settings.training.model_fields_set, "study.seeds"),
        "training.optimizer.lr": (
            "optimizer" in settings.training.model_fields_set and "lr" in optimizer.parameters,
            "study.learning_rates",
        ),
    }
    for name, (given, instead) in varied.items():
        if given:
            raise ConfigError(f"{name} is varied by the study: leave it out and set {instead}")
