"""What a study costs, said before it starts and after every run."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from damagenet.evaluation.protocols import split_of
from damagenet.recipe import Recipe
from damagenet.study.plan import (
    any_run,
    epochs_in_all,
    planned_runs,
    rates_of,
    recipe_of,
    step_count,
    variant_run_count,
)
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings
from data_prep.harvey import HarveyTiles


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBudget:
    """What one run of a variant trains on.

    Attributes:
        tiles: Training tiles.
        epochs: How often it goes through them.
        batch: Tiles of a step.
        steps: Training steps.
    """

    tiles: int
    epochs: int
    batch: int
    steps: int

    @property
    def passes(self) -> int:
        """Tiles times epochs, by which budgets are compared."""
        return self.tiles * self.epochs

    def __str__(self) -> str:
        return (
            f"{self.tiles} tiles x {self.epochs} epochs in batches of {self.batch} = "
            f"{self.steps} steps"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How many runs of a study are done and left.

    Attributes:
        done: Runs that have a row.
        left: Runs that have none, by variant.
        seconds: What those that are left will take one after another; None before the first row.
    """

    done: int
    left: Mapping[str, int]
    seconds: float | None

    @property
    def total(self) -> int:
        """Runs of the whole study."""
        return self.done + sum(self.left.values())


def run_budgets(settings: StudySettings, tiles: HarveyTiles) -> dict[str, RunBudget]:
    """Return what a run of each variant trains on, by label, on the first split."""
    recipes = {
        variant.label: recipe_of(settings, any_run(settings, variant))
        for variant in settings.study.compared
    }
    # Most variants have the same data, and a split takes a moment.
    counts: dict[str, int] = {}
    return {label: _run_budget(recipe, tiles, counts) for label, recipe in recipes.items()}


def _run_budget(recipe: Recipe, tiles: HarveyTiles, counts: dict[str, int]) -> RunBudget:
    data = recipe.data.model_dump_json()
    if data not in counts:
        counts[data] = len(split_of(recipe, tiles).train)
    count, training = counts[data], recipe.training
    return RunBudget(
        tiles=count,
        epochs=epochs_in_all(training),
        batch=min(training.batch_size, count),
        steps=step_count(training, count),
    )


def progress(
    settings: StudySettings,
    rows: Mapping[str, Row],
    labels: Collection[str],
    *,
    timed: Iterable[Row] | None = None,
) -> Progress:
    """Return how far some variants of a study are.

    Args:
        settings: The study.
        rows: What is finished, by key.
        labels: The variants that count.
        timed: Rows whose times tell how long the rest will take; without them, all.
    """
    done = [rows[key] for key in planned_runs(settings, rows, labels) if key in rows]
    left = {
        variant.label: variant_run_count(settings, variant, rows)
        - sum(row.variant == variant.label for row in done)
        for variant in settings.study.compared
        if variant.label in labels
    }
    return Progress(
        done=len(done), left=left, seconds=_seconds(left, done if timed is None else timed)
    )


def _seconds(left: Mapping[str, int], timed: Iterable[Row]) -> float | None:
    """Return how long runs take, each as long as those of its variant, or else of all."""
    times: dict[str, list[float]] = {}
    for row in timed:
        times.setdefault(row.variant, []).append(row.seconds)
    if not times:
        return None
    usual = median(seconds for each in times.values() for seconds in each)
    return sum(count * median(times.get(label, [usual])) for label, count in left.items())


def budget_lines(
    settings: StudySettings,
    labels: Collection[str],
    budgets: Mapping[str, RunBudget],
    ahead: Progress,
    *,
    processes: int,
) -> list[str]:
    """Return in words what is ahead, and whether all variants have the same budget."""
    study = settings.study
    lines = [
        f"{len(labels)} variants, {_rates(settings, labels)}{_seeds(study.seeds)} on "
        f"{' and '.join(study.splits)}: {ahead.total} runs, {ahead.done} done, "
        f"{sum(ahead.left.values())} left",
        *_budgets(study.baseline, {label: budgets[label] for label in (study.baseline, *labels)}),
    ]
    if ahead.seconds is None:
        return [*lines, "how long that takes is known after the first run"]
    at_once = f", {processes} at a time" if processes > 1 else ""
    whole = duration(ahead.seconds / processes)
    return [*lines, f"about {whole} left{at_once}"]


def _seeds(seeds: Collection[int]) -> str:
    return "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _rates(settings: StudySettings, labels: Collection[str]) -> str:
    """Return how many learning rates are tried, blank where each variant has one."""
    study = settings.study
    counts = {
        len(rates_of(settings, variant)) for variant in study.compared if variant.label in labels
    }
    if counts == {1}:
        return ""
    tried = " or ".join(map(str, sorted(counts)))
    return f"{tried} learning rates on seed {study.lr_seed} of {study.tuning_split}, then "


def _budgets(baseline: str, budgets: Mapping[str, RunBudget]) -> Iterator[str]:
    usual = budgets[baseline]
    yield f"every run: {usual}"
    other = {label: each for label, each in budgets.items() if each.passes != usual.passes}
    if not other:
        yield "the same budget for all: tiles x epochs are equal"
    for label, each in other.items():
        yield f"but {label}: {each}, {each.passes / usual.passes:.3g} times the budget"


def duration(seconds: float) -> str:
    """Return a time in words, as in `2 h 05 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
