"""Time, memory and budget of every variant, from the rows of all splits."""

from collections.abc import Callable, Iterable, Mapping
from statistics import median

from damagenet.study.plan import chosen_lr, run_key, scored_runs
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings, Variant
from damagenet.study.summary import Cost

Pairing = tuple[str, int, str, int]
"""Split, seed, machine and threads: what two runs must share for their times to be compared."""


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
    return tuple(
        _cost(
            variant,
            chosen_lr(settings, variant, rows),
            finished[variant.label],
            finished[study.base_of(variant) or study.baseline],
            baseline=finished[study.baseline],
        )
        for variant in study.compared
    )


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
    baseline: Mapping[Pairing, Row],
) -> Cost:
    ratios = [
        row.seconds_per_epoch / other.seconds_per_epoch
        for pairing, row in own.items()
        if (other := base.get(pairing)) is not None
        and row.seconds_per_epoch
        and other.seconds_per_epoch
    ]
    budgets = {
        row.passes / other.passes
        for pairing, row in own.items()
        if (other := baseline.get(pairing)) is not None
    }
    parameters = [row.parameters for row in own.values() if row.parameters is not None]
    return Cost(
        variant=variant.label,
        settings=variant.told,
        lr=lr,
        seconds_per_epoch=_middle(own.values(), lambda row: row.seconds_per_epoch),
        relative_time=median(ratios) if ratios else None,
        budget=max(budgets, default=None),
        peak_mb=_middle(own.values(), lambda row: row.peak_mb),
        saved_mb=_middle(own.values(), lambda row: row.saved_mb),
        parameters=max(parameters, default=None),
    )


def _middle(rows: Iterable[Row], value: Callable[[Row], float | None]) -> float | None:
    known = [found for row in rows if (found := value(row)) is not None]
    return median(known) if known else None
