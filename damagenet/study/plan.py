"""The runs of a study: which there are, in which order, and what makes two of them the same."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from damagenet.config import with_changes
from damagenet.errors import ConfigError
from damagenet.recipe import Recipe, TrainingSettings
from damagenet.study.rows import Row
from damagenet.study.settings import LR, StudySettings, Variant
from models.reinit import Layerwise, find_reinit

KEY_DIGITS = 16
APART: Mapping[str, bool | set[str]] = {
    "name": True,
    "data": {"path", "split"},
    "model": {"activation"},
    "training": {"seed", "optimizer"},
}
"""Settings of a recipe that the key names by itself, or that shape no score: name and path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training of a study."""

    variant: Variant
    split: str
    seed: int
    lr: float


def recipe_of(settings: StudySettings, run: Run) -> Recipe:
    """Return the recipe of one run: the study's, changed by the variant and by the run itself.

    Raises:
        ConfigError: If the variant sets what no recipe has, or a wrong value.
    """
    changes = {
        **run.variant.set,
        "data.split": run.split,
        "data.allow_leak": settings.data.allow_leak and run.split == "published",
        "training.seed": run.seed,
        LR: run.lr,
    }
    return with_changes(settings.recipe, changes, source="set")


def any_run(settings: StudySettings, variant: Variant) -> Run:
    """Return a run of a variant, to look at what all of them have in common.

    Raises:
        ConfigError: As `rates_of`.
    """
    study = settings.study
    lr = rates_of(settings, variant)[0]
    return Run(variant=variant, split=study.splits[0], seed=study.seeds[0], lr=lr)


def rates_of(settings: StudySettings, variant: Variant) -> tuple[float, ...]:
    """Return the learning rates of a variant, the lowest first.

    They are its own, or the one that its optimizer has, or those of the study.

    Raises:
        ConfigError: If there are none, or its settings are wrong.
    """
    own_list, study_list = variant.learning_rates, settings.study.learning_rates
    listed = study_list if own_list is None else own_list
    if listed and not variant.sets_lr:
        return listed
    own = with_changes(settings.recipe, variant.set, source="set").training.optimizer
    lr = own.parameters.get("lr")
    if isinstance(lr, bool | str) or lr is None:
        raise ConfigError(
            f"no learning rate for optimizer {own.name!r}: give it an lr, or list learning_rates"
        )
    return (lr,)


def run_key(settings: StudySettings, run: Run) -> str:
    """Return a hash over all settings that shape a run's scores, 16 hexadecimal digits.

    Of the recipe only what differs from the defaults counts, so that a setting which damagenet
    learns later does not make finished runs strangers. What the study varies counts always. The
    tiles stay outside; `Row.data` names them.
    """
    recipe = recipe_of(settings, run)
    shape = {
        "activation": recipe.model.activation.model_dump(mode="json"),
        "split": run.split,
        "seed": run.seed,
        "optimizer": recipe.training.optimizer.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True, exclude=dict(APART)),
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


def tuning_runs(settings: StudySettings, variant: Variant) -> list[Run]:
    """Return the runs among which the learning rate of a variant is chosen; none for a single."""
    study = settings.study
    rates = rates_of(settings, variant)
    return [
        Run(variant=variant, split=study.tuning_split, seed=study.lr_seed, lr=lr)
        for lr in rates
        if len(rates) > 1
    ]


def chosen_lr(settings: StudySettings, variant: Variant, rows: Mapping[str, Row]) -> float | None:
    """Return the learning rate with the best validation score, or the only one.

    Of equal ones the one nearest the middle of the list is taken, then the lower.

    Args:
        settings: The study.
        variant: The variant.
        rows: What is finished, by key.

    Returns:
        The rate, or None while a run is missing or where all have failed.
    """
    rates = rates_of(settings, variant)
    if len(rates) == 1:
        return rates[0]
    tried = [rows.get(run_key(settings, run)) for run in tuning_runs(settings, variant)]
    if any(row is None for row in tried):
        return None
    sign = -1 if settings.training.select_on == "loss" else 1
    middle = (len(rates) - 1) / 2
    scored = [
        (-sign * row.validation, abs(place - middle), place)
        for place, row in enumerate(tried)
        if row is not None and row.validation is not None and math.isfinite(row.validation)
    ]
    return rates[min(scored)[2]] if scored else None


def scored_runs(settings: StudySettings, variant: Variant, rows: Mapping[str, Row]) -> list[Run]:
    """Return the runs that a variant is judged by, seed by seed; none before it has a rate."""
    lr = chosen_lr(settings, variant, rows)
    if lr is None:
        return []
    study = settings.study
    return [
        Run(variant=variant, split=split, seed=seed, lr=lr)
        for seed in study.seeds
        for split in study.splits
    ]


def planned_runs(
    settings: StudySettings, rows: Mapping[str, Row], labels: Collection[str]
) -> dict[str, Run]:
    """Return by key all runs that are known so far, in the order in which they should be done.

    First every learning rate, then seed after seed over all variants and splits, always the
    baseline first, so that an unfinished study is balanced. A run that chose a learning rate and
    counts in the study too is there once.
    """
    study = settings.study
    variants = [
        variant
        for variant in sorted(study.compared, key=lambda one: one.label != study.baseline)
        if variant.label in labels
    ]
    ordered = [run for variant in variants for run in tuning_runs(settings, variant)]
    scored = [scored_runs(settings, variant, rows) for variant in variants]
    for seed in study.seeds:
        ordered += [run for runs in scored for run in runs if run.seed == seed]
    return {run_key(settings, run): run for run in ordered}


def is_hopeless(settings: StudySettings, variant: Variant, rows: Mapping[str, Row]) -> bool:
    """Whether a variant has failed at every learning rate, so that no seed is tried."""
    tried = [rows.get(run_key(settings, run)) for run in tuning_runs(settings, variant)]
    return None not in tried and chosen_lr(settings, variant, rows) is None


def run_count(settings: StudySettings, rows: Mapping[str, Row], labels: Collection[str]) -> int:
    """Return the number of runs of a whole study; a learning rate's run that counts is one."""
    return sum(
        variant_run_count(settings, variant, rows)
        for variant in settings.study.compared
        if variant.label in labels
    )


def variant_run_count(settings: StudySettings, variant: Variant, rows: Mapping[str, Row]) -> int:
    """Return the number of runs of one variant of a study."""
    study = settings.study
    tuning = len(tuning_runs(settings, variant))
    if is_hopeless(settings, variant, rows):
        return tuning
    shared = tuning and study.lr_seed in study.seeds and study.tuning_split in study.splits
    return tuning + len(study.seeds) * len(study.splits) - bool(shared)


def epochs_in_all(training: TrainingSettings) -> int:
    """Return how often a training goes through its tiles, all its rounds together."""
    reinit = find_reinit(training.reinit)
    return training.epochs * (reinit.rounds if isinstance(reinit, Layerwise) else 1)


def step_count(training: TrainingSettings, tiles: int) -> int:
    """Return the training steps of one run; the last, short batch of an epoch is dropped."""
    batch = min(training.batch_size, tiles)
    return tiles // batch * epochs_in_all(training)
