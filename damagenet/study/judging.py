"""From the rows of a study to its summary."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from damagenet.recipe import Recipe
from damagenet.study.checks import refuse_empty
from damagenet.study.costs import costs
from damagenet.study.plan import (
    any_run,
    chosen_lr,
    epochs_in_all,
    is_hopeless,
    planned_runs,
    rates_of,
    recipe_of,
    run_count,
    run_key,
    scored_runs,
    tuning_runs,
)
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings, Variant
from damagenet.study.statistics import Difference, differences, findable, half_width, mean_of
from damagenet.study.summary import (
    SCORES,
    Outcome,
    SplitSummary,
    StudySummary,
    Tuning,
    main_score,
)

Rows = Mapping[str, Row]
"""By key."""


def summarise(settings: StudySettings, rows: Iterable[Row]) -> StudySummary:
    """Return the summary of the rows that belong to a study as it is set."""
    refuse_empty(settings)
    every = {row.key: row for row in rows}
    study = settings.study
    labels = [variant.label for variant in study.compared]
    used = [every[key] for key in planned_runs(settings, every, labels) if key in every]
    usual = [row for row in used if row.variant == study.baseline] or used
    base = next(_recipe(settings, each) for each in study.compared if each.label == study.baseline)
    return StudySummary(
        name=settings.name,
        baseline=study.baseline,
        architectures=_architectures(settings),
        seeds=len(study.seeds),
        epochs=epochs_in_all(base.training),
        tiles=tuple(sorted({row.tiles for row in usual})),
        steps=tuple(sorted({row.steps for row in usual})),
        total=run_count(settings, every, labels),
        done=len(used),
        failed=sum(row.status == "failed" for row in used),
        strangers=len(every) - len(used),
        select_on=settings.training.select_on,
        lr_seed=study.lr_seed,
        lr_split=study.tuning_split,
        tuning=tuple(_tuning(settings, variant, every) for variant in study.compared),
        splits=tuple(_split(settings, split, every) for split in study.splits),
        costs=costs(settings, every),
        hardware=Counter(f"{row.hardware}, {row.threads} thread(s)" for row in used),
        versions=Counter(f"damagenet {row.damagenet}, torch {row.torch}" for row in used),
    )


def _recipe(settings: StudySettings, variant: Variant) -> Recipe:
    return recipe_of(settings, any_run(settings, variant))


def _architectures(settings: StudySettings) -> tuple[str, ...]:
    used = [_recipe(settings, each).model.architecture.name for each in settings.study.compared]
    return tuple(dict.fromkeys(used))


def _tuning(settings: StudySettings, variant: Variant, rows: Rows) -> Tuning:
    runs = tuning_runs(settings, variant)
    tried = {run.lr: rows.get(run_key(settings, run)) for run in runs}
    lr = chosen_lr(settings, variant, rows)
    rates = rates_of(settings, variant)
    return Tuning(
        variant=variant.label,
        validation={rate: row.validation for rate, row in tried.items() if row is not None},
        lr=lr,
        fixed=len(rates) == 1,
        at_edge=len(rates) > 1 and lr in (rates[0], rates[-1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """The runs by which one variant is judged on one split.

    Attributes:
        variant: The variant.
        lr: Its learning rate; None without one.
        ok: The rows with scores, by seed.
        failed: Rows without.
        missing: Runs that are still to do.
        hopeless: Whether no learning rate worked, so that no seed was tried.
    """

    variant: Variant
    lr: float | None
    ok: dict[int, Row]
    failed: int
    missing: int
    hopeless: bool

    def scores(self, name: str) -> dict[int, float]:
        found = {seed: getattr(row, name) for seed, row in self.ok.items()}
        return {seed: value for seed, value in found.items() if value is not None}


def _results(settings: StudySettings, variant: Variant, split: str, rows: Rows) -> _Results:
    runs = [run for run in scored_runs(settings, variant, rows) if run.split == split]
    found = {run.seed: rows.get(run_key(settings, run)) for run in runs}
    ok = {seed: row for seed, row in found.items() if row is not None and row.status == "ok"}
    failed = sum(row is not None and row.status == "failed" for row in found.values())
    hopeless = is_hopeless(settings, variant, rows)
    return _Results(
        variant=variant,
        lr=chosen_lr(settings, variant, rows),
        ok=ok,
        failed=failed,
        missing=0 if hopeless else len(settings.study.seeds) - len(ok) - failed,
        hopeless=hopeless,
    )


def _split(settings: StudySettings, split: str, rows: Rows) -> SplitSummary:
    study = settings.study
    score = main_score(split)
    every = [_results(settings, variant, split, rows) for variant in study.compared]
    by_label = {results.variant.label: results for results in every}
    bases = {
        variant.label: by_label[label]
        for variant in study.compared
        if (label := study.base_of(variant)) is not None
    }
    pairs = {
        label: _pairs(by_label[label].scores(score), base.scores(score))
        for label, base in bases.items()
    }
    family = len(pairs)
    judged = differences(pairs, family=family)
    outcomes = [
        _outcome(results, bases.get(label), score, judged.get(label))
        for label, results in by_label.items()
    ]
    spread = median(each.deviation for each in judged.values()) if judged else None
    fewest = min((each.n for each in judged.values()), default=0)
    return SplitSummary(
        split=split,
        score=score,
        outcomes=tuple(sorted(outcomes, key=lambda one: _place(one, score))),
        family=family,
        seeds=fewest,
        countable=None if spread is None else half_width(spread, fewest, family=family),
        findable=None if spread is None else findable(spread, fewest, family=family),
    )


def _place(outcome: Outcome, score: str) -> float:
    """Order by falling mean; what has none comes last."""
    return -outcome.scores[score].value if score in outcome.scores else 1.0


def _pairs(own: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    return [own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())]


def _outcome(
    results: _Results, base: _Results | None, score: str, difference: Difference | None
) -> Outcome:
    by_name = {name: results.scores(name) for name in SCORES}
    return Outcome(
        variant=results.variant.label,
        settings=results.variant.told,
        against=None if base is None else base.variant.label,
        lr=results.lr,
        done=len(results.ok),
        failed=results.failed,
        missing=results.missing,
        scores={name: mean_of(list(seeds.values())) for name, seeds in by_name.items() if seeds},
        seeds=by_name[score],
        difference=difference,
        verdict=_verdict(results, base, difference),
    )


def _verdict(results: _Results, base: _Results | None, difference: Difference | None) -> str:
    """Return the word; a claim only where every run of both is there."""
    if base is None:
        return "baseline"
    if lacking := _lacking(results, base):
        return lacking
    if difference is None or difference.too_few_seeds:
        return "no word: too few seeds"
    if not difference.counts:
        return "no difference shown"
    return "better" if difference.mean > 0 else "worse"


def _lacking(results: _Results, base: _Results) -> str:
    """Return what stands against any claim; nothing where all runs have scores."""
    if results.hopeless:
        return "no word: every learning rate failed"
    if results.missing or base.missing:
        return "not finished"
    if base.hopeless or base.failed:
        return f"no word: {base.variant.label} failed"
    return f"no word: {results.failed} failed" if results.failed else ""
