"""The runs of a study: which there are, in which order, and what makes two of them the same."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from damagenet.recipe import Recipe
from damagenet.study.rows import Row
from damagenet.study.settings import Candidate, StudySettings

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

    candidate: Candidate
    split: str
    seed: int
    lr: float


def recipe_of(settings: StudySettings, run: Run) -> Recipe:
    """Return the recipe of one run: the study's, with the run's own four settings."""
    leaks = settings.data.allow_leak and run.split == "published"
    optimizer = settings.training.optimizer
    parameters = {**optimizer.parameters, "lr": run.lr}
    return Recipe(
        name=settings.name,
        data=settings.data.model_copy(update={"split": run.split, "allow_leak": leaks}),
        model=settings.model.model_copy(update={"activation": run.candidate.choice}),
        training=settings.training.model_copy(
            update={
                "seed": run.seed,
                "optimizer": optimizer.model_copy(update={"parameters": parameters}),
            }
        ),
    )


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


def tuning_runs(settings: StudySettings, candidate: Candidate) -> list[Run]:
    """Return the runs among which the learning rate of an activation is chosen."""
    study = settings.study
    return [
        Run(candidate=candidate, split=study.tuning_split, seed=study.lr_seed, lr=lr)
        for lr in study.learning_rates
    ]


def chosen_lr(
    settings: StudySettings, candidate: Candidate, rows: Mapping[str, Row]
) -> float | None:
    """Return the learning rate with the best validation score.

    Of equal ones the one nearest the middle of the list is taken, then the lower.

    Args:
        settings: The study.
        candidate: The activation.
        rows: What is finished, by key.

    Returns:
        The rate, or None while a run is missing or where all have failed.
    """
    tried = [rows.get(run_key(settings, run)) for run in tuning_runs(settings, candidate)]
    if any(row is None for row in tried):
        return None
    rates = settings.study.learning_rates
    sign = -1 if settings.training.select_on == "loss" else 1
    middle = (len(rates) - 1) / 2
    scored = [
        (-sign * row.validation, abs(place - middle), place)
        for place, row in enumerate(tried)
        if row is not None and row.validation is not None and math.isfinite(row.validation)
    ]
    return rates[min(scored)[2]] if scored else None


def scored_runs(
    settings: StudySettings, candidate: Candidate, rows: Mapping[str, Row]
) -> list[Run]:
    """Return the runs that an activation is judged by, seed by seed; none before it has a rate."""
    lr = chosen_lr(settings, candidate, rows)
    if lr is None:
        return []
    study = settings.study
    return [
        Run(candidate=candidate, split=split, seed=seed, lr=lr)
        for seed in study.seeds
        for split in study.splits
    ]


def planned_runs(
    settings: StudySettings, rows: Mapping[str, Row], labels: Collection[str]
) -> dict[str, Run]:
    """Return by key all runs that are known so far, in the order in which they should be done.

    First every learning rate, then seed after seed over all activations and splits, always the
    baseline first, so that an unfinished study is balanced. A run that chose a learning rate and
    counts in the study too is there once.
    """
    study = settings.study
    candidates = [
        candidate
        for candidate in sorted(study.activations, key=lambda one: one.label != study.baseline)
        if candidate.label in labels
    ]
    ordered = [run for candidate in candidates for run in tuning_runs(settings, candidate)]
    scored = [scored_runs(settings, candidate, rows) for candidate in candidates]
    for seed in study.seeds:
        ordered += [run for runs in scored for run in runs if run.seed == seed]
    return {run_key(settings, run): run for run in ordered}


def is_hopeless(settings: StudySettings, candidate: Candidate, rows: Mapping[str, Row]) -> bool:
    """Whether an activation has failed at every learning rate, so that no seed is tried."""
    tried = [rows.get(run_key(settings, run)) for run in tuning_runs(settings, candidate)]
    return None not in tried and chosen_lr(settings, candidate, rows) is None


def run_count(settings: StudySettings, rows: Mapping[str, Row], labels: Collection[str]) -> int:
    """Return the number of runs of a whole study; a learning rate's run that counts is one."""
    study = settings.study
    rates = len(study.learning_rates)
    shared = study.lr_seed in study.seeds and study.tuning_split in study.splits
    more = len(study.seeds) * len(study.splits) - int(shared)
    return sum(
        rates if is_hopeless(settings, candidate, rows) else rates + more
        for candidate in study.activations
        if candidate.label in labels
    )


def step_count(settings: StudySettings, tiles: int) -> int:
    """Return the training steps of one run; the last, short batch of an epoch is dropped."""
    batch = min(settings.training.batch_size, tiles)
    return tiles // batch * settings.training.epochs
