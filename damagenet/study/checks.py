"""Whether a study can be run at all: every name and value, before any data is read."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from damagenet.config import setting
from damagenet.errors import BundleError, ConfigError, LeakError
from damagenet.recipe import Recipe
from damagenet.study.plan import any_run, rates_of, recipe_of
from damagenet.study.settings import ACTIVATION, LR, StudySettings, Variant
from damagenet.training.checks import check_recipe
from damagenet.training.head import is_solver
from data_prep.splits import check_split


def check_study(settings: StudySettings) -> None:
    """Check every variant, split and setting of a study without reading data.

    Raises:
        ConfigError: If a name, a parameter or a combination is unknown or out of range, or the
            recipe sets what the study varies; the message names the dotted path, and of variants
            every one that is refused.
        LeakError: If a split leaks and the settings do not allow it.
    """
    study = settings.study
    refuse_empty(settings)
    _refuse_varied(settings)
    for split in dict.fromkeys((*study.splits, study.tuning_split)):
        with setting("study.splits" if split in study.splits else "study.lr_split"):
            check_split(split)
        if split == "published" and not settings.data.allow_leak:
            raise LeakError(
                "study.splits: 'published' shares ground between training and test: set "
                "data.allow_leak to true, or leave it out"
            )
    _refuse(settings, {each.label: _fault(settings, each) for each in study.compared})
    _refuse_twins(settings)


def refuse_empty(settings: StudySettings) -> None:
    """Raise ConfigError if there is nothing to compare."""
    if not settings.study.compared:
        raise ConfigError(
            "study.variants is empty: name what is compared, there or in study.activations"
        )


def chosen_labels(settings: StudySettings, only: Collection[str]) -> tuple[str, ...]:
    """Return the labels that `only` names, or all where it names none, in the study's order.

    Raises:
        ConfigError: If one is no variant of the study.
    """
    labels = tuple(variant.label for variant in settings.study.compared)
    unknown = sorted(set(only) - set(labels))
    if unknown:
        raise ConfigError(
            f"--only {unknown[0]!r} is no variant of this study; choose from: {', '.join(labels)}"
        )
    return tuple(label for label in labels if not only or label in only)


def _fault(settings: StudySettings, variant: Variant) -> str:
    """Return what is wrong with a variant, in words; blank where nothing is."""
    try:
        recipe = recipe_of(settings, any_run(settings, variant))
        if is_solver(recipe.training.optimizer):
            return (
                f"training.optimizer {recipe.training.optimizer.name!r} takes no steps, and a "
                "study compares trainings of equal steps: choose another one"
            )
        check_recipe(recipe)
    except (ConfigError, BundleError) as err:
        return str(err)
    return ""


def _refuse(settings: StudySettings, faults: Mapping[str, str]) -> None:
    """Refuse the variants that have a fault, all at once; a fault of all is the recipe's."""
    section = settings.study.section
    said = set(faults.values())
    if len(said) == 1 and len(faults) > 1:
        lines = list(said)
    else:
        lines = [f"{section} ({label}): {fault}" for label, fault in faults.items() if fault]
    if any(lines):
        raise ConfigError("\n".join(lines))


def _refuse_twins(settings: StudySettings) -> None:
    """Refuse two variants whose runs would be the same."""
    study = settings.study
    seen: list[tuple[Variant, Recipe]] = []
    for variant in study.compared:
        # At a learning rate that is the same for all: their own are compared by themselves.
        recipe = recipe_of(settings, replace(any_run(settings, variant), lr=1.0))
        for other, others in seen:
            shared = set(rates_of(settings, variant)) & set(rates_of(settings, other))
            if recipe == others and shared:
                raise ConfigError(
                    f"{study.section}: {other.label!r} and {variant.label!r} are the same "
                    "training: leave one out"
                )
        seen.append((variant, recipe))


def _refuse_varied(settings: StudySettings) -> None:
    """Refuse settings of the recipe that the study would overwrite in silence."""
    study, optimizer = settings.study, settings.training.optimizer
    varied = {
        "data.split": ("split" in settings.data.model_fields_set, "study.splits"),
        ACTIVATION: (
            bool(study.activations) and "activation" in settings.model.model_fields_set,
            "study.activations",
        ),
        "training.seed": ("seed" in settings.training.model_fields_set, "study.seeds"),
        LR: (
            bool(study.learning_rates)
            and "optimizer" in settings.training.model_fields_set
            and "lr" in optimizer.parameters,
            "study.learning_rates",
        ),
    }
    for name, (given, instead) in varied.items():
        if given:
            raise ConfigError(f"{name} is varied by the study: leave it out and set {instead}")
