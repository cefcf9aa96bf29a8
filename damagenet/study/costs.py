"""Time, memory and budget of every variant, from the rows of all splits."""

from collections.abc import Callable, Iterable, Mapping
from statistics import median

from damagenet.recipe import Recipe
from damagenet.study.plan import (
    any_run,
    chosen_lr,
    epochs_in_all,
    recipe_of,
    run_key,
    scored_runs,
)
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings, Variant
from damagenet.study.summary import Cost

Pairing = tuple[str, int, str, int]
"""Split, seed, machine and threads: what two runs must share for their times to be compared."""

CHOOSING = ("limit", "exclude_ground", "passes")
"""Settings of the data by which tiles are chosen from a split."""


def costs(settings: StudySettings, rows: Mapping[str, Row]) -> tuple[Cost, ...]:
    """Return the costs of all variants in the order of the settings.

    Args:
        settings: The study.
        rows: What is finished, by key.
    """
    finished = {
        variant.label: _finished(settings, variant, rows) for variant in settings.study.compared
    }
    study = settings.study
    recipes = {each.label: recipe_of(settings, any_run(settings, each)) for each in study.compared}
    return tuple(
        _cost(
            variant,
            chosen_lr(settings, variant, rows),
            finished[variant.label],
            finished[study.base_of(variant) or study.baseline],
            budget=_budget(finished[variant.label], finished[study.baseline])
            or _planned_budget(recipes[variant.label], recipes[study.baseline]),
        )
        for variant in study.compared
    )


def _budget(own: Mapping[Pairing, Row], base: Mapping[Pairing, Row]) -> float | None:
    """Return what a variant was trained on over what the baseline was, None without runs of both.

    Of several splits the one counts where it had most.
    """
    shares = [
        row.passes / other.passes
        for pairing, row in own.items()
        if (other := base.get(pairing)) is not None
    ]
    return max(shares, default=None)


def _planned_budget(recipe: Recipe, base: Recipe) -> float | None:
    """Return the same by the settings; None where they do not say how many tiles there will be."""
    epochs = epochs_in_all(recipe.training) / epochs_in_all(base.training)
    given = {name: getattr(recipe.data, name) for name in CHOOSING}
    if given == {name: getattr(base.data, name) for name in CHOOSING}:
        return epochs
    limit, usual = recipe.data.limit, base.data.limit
    return epochs * limit / usual if limit and usual else None


def _finished(
    settings: StudySettings, variant: Variant, rows: Mapping[str, Row]
) -> dict[Pairing, Row]:
    runs = scored_runs(settings, variant, rows)
    found = [rows[key] for key in (run_key(settings, run) for run in runs) if key in rows]
    return {
        (row.split, row.seed, row.hardware, row.threads): row for row in found if row.status == "ok"
    }


def _cost(
    variant: Variant,
    lr: float | None,
    own: Mapping[Pairing, Row],
    base: Mapping[Pairing, Row],
    *,
    budget: float | None,
) -> Cost:
    ratios = [
        row.seconds_per_epoch / other.seconds_per_epoch
        for pairing, row in own.items()
        if (other := base.get(pairing)) is not None
        and row.seconds_per_epoch
        and other.seconds_per_epoch
    ]
    parameters = [row.parameters for row in own.values() if row.parameters is not None]
    return Cost(
        variant=variant.label,
        settings=variant.told,
        lr=lr,
        seconds_per_epoch=_middle(own.values(), lambda row: row.seconds_per_epoch),
        relative_time=median(ratios) if ratios else None,
        budget=budget,
        peak_mb=_middle(own.values(), lambda row: row.peak_mb),
        saved_mb=_middle(own.values(), lambda row: row.saved_mb),
        parameters=max(parameters, default=None),
    )


def _middle(rows: Iterable[Row], value: Callable[[Row], float | None]) -> float | None:
    known = [found for row in rows if (found := value(row)) is not None]
    return median(known) if known else None
