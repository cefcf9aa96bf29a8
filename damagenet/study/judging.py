"""From the rows of a study to its summary."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from damagenet.study.costs import costs
from damagenet.study.plan import (
    chosen_lr,
    is_hopeless,
    planned_runs,
    run_count,
    run_key,
    scored_runs,
    tuning_runs,
)
from damagenet.study.rows import Row
from damagenet.study.settings import Candidate, StudySettings
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
    every = {row.key: row for row in rows}
    study = settings.study
    labels = [candidate.label for candidate in study.activations]
    used = [every[key] for key in planned_runs(settings, every, labels) if key in every]
    return StudySummary(
        name=settings.name,
        baseline=study.baseline,
        architecture=settings.model.architecture.name,
        seeds=len(study.seeds),
        epochs=settings.training.epochs,
        tiles=tuple(sorted({row.tiles for row in used})),
        steps=tuple(sorted({row.steps for row in used})),
        total=run_count(settings, every, labels),
        done=len(used),
        failed=sum(row.status == "failed" for row in used),
        strangers=len(every) - len(used),
        select_on=settings.training.select_on,
        lr_seed=study.lr_seed,
        lr_split=study.tuning_split,
        tuning=tuple(_tuning(settings, candidate, every) for candidate in study.activations),
        splits=tuple(_split(settings, split, every) for split in study.splits),
        costs=costs(settings, every),
        hardware=Counter(f"{row.hardware}, {row.threads} thread(s)" for row in used),
        versions=Counter(f"damagenet {row.damagenet}, torch {row.torch}" for row in used),
    )


def _tuning(settings: StudySettings, candidate: Candidate, rows: Rows) -> Tuning:
    runs = tuning_runs(settings, candidate)
    tried = {run.lr: rows.get(run_key(settings, run)) for run in runs}
    lr = chosen_lr(settings, candidate, rows)
    rates = settings.study.learning_rates
    return Tuning(
        activation=candidate.label,
        validation={rate: row.validation for rate, row in tried.items() if row is not None},
        lr=lr,
        at_edge=len(rates) > 1 and lr in (rates[0], rates[-1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """The runs by which one activation is judged on one split.

    Attributes:
        candidate: The activation.
        lr: Its learning rate; None without one.
        ok: The rows with scores, by seed.
        failed: Rows without.
        missing: Runs that are still to do.
        hopeless: Whether no learning rate worked, so that no seed was tried.
    """

    candidate: Candidate
    lr: float | None
    ok: dict[int, Row]
    failed: int
    missing: int
    hopeless: bool

    def scores(self, name: str) -> dict[int, float]:
        found = {seed: getattr(row, name) for seed, row in self.ok.items()}
        return {seed: value for seed, value in found.items() if value is not None}


def _results(settings: StudySettings, candidate: Candidate, split: str, rows: Rows) -> _Results:
    runs = [run for run in scored_runs(settings, candidate, rows) if run.split == split]
    found = {run.seed: rows.get(run_key(settings, run)) for run in runs}
    ok = {seed: row for seed, row in found.items() if row is not None and row.status == "ok"}
    failed = sum(row is not None and row.status == "failed" for row in found.values())
    hopeless = is_hopeless(settings, candidate, rows)
    return _Results(
        candidate=candidate,
        lr=chosen_lr(settings, candidate, rows),
        ok=ok,
        failed=failed,
        missing=0 if hopeless else len(settings.study.seeds) - len(ok) - failed,
        hopeless=hopeless,
    )


def _split(settings: StudySettings, split: str, rows: Rows) -> SplitSummary:
    study = settings.study
    score = main_score(split)
    every = [_results(settings, candidate, split, rows) for candidate in study.activations]
    base = next(results for results in every if results.candidate.label == study.baseline)
    pairs = {
        results.candidate.label: _pairs(results.scores(score), base.scores(score))
        for results in every
        if results is not base
    }
    family = len(pairs)
    judged = differences(pairs, family=family)
    outcomes = [
        _outcome(results, base, score, judged.get(results.candidate.label)) for results in every
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
    results: _Results, base: _Results, score: str, difference: Difference | None
) -> Outcome:
    by_name = {name: results.scores(name) for name in SCORES}
    return Outcome(
        activation=results.candidate.label,
        function=results.candidate.function,
        lr=results.lr,
        done=len(results.ok),
        failed=results.failed,
        missing=results.missing,
        scores={name: mean_of(list(seeds.values())) for name, seeds in by_name.items() if seeds},
        seeds=by_name[score],
        difference=difference,
        verdict=_verdict(results, base, difference),
    )


def _verdict(results: _Results, base: _Results, difference: Difference | None) -> str:
    """Return the word; a claim only where every run of both is there."""
    if results is base:
        return "baseline"
    if lacking := _lacking(results, base):
        return lacking
    if difference is None:
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
        return "no word: the baseline failed"
    return f"no word: {results.failed} failed" if results.failed else ""
