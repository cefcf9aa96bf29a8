"""What a study costs, said before it starts and after every run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import median

from damagenet.study.plan import planned_runs, run_count, step_count
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many runs, how much each, and how long that will take.

    Attributes:
        total: Runs of the whole study.
        done: Those that have a row.
        tiles: Training tiles of each.
        steps: Training steps of each.
        seconds: What a run took so far, in the middle; None before the first.
    """

    total: int
    done: int
    tiles: int
    steps: int
    seconds: float | None

    @property
    def left(self) -> int:
        """Runs that have no row yet."""
        return self.total - self.done


def make_budget(
    settings: StudySettings, rows: Mapping[str, Row], labels: Collection[str], *, tiles: int
) -> Budget:
    """Return the budget of some activations of a study.

    Args:
        settings: The study.
        rows: What is finished, by key.
        labels: The activations that count.
        tiles: Training tiles of a run.
    """
    done = [rows[key] for key in planned_runs(settings, rows, labels) if key in rows]
    return Budget(
        total=run_count(settings, rows, labels),
        done=len(done),
        tiles=tiles,
        steps=step_count(settings, tiles),
        seconds=median(row.seconds for row in done) if done else None,
    )


def budget_lines(
    budget: Budget, settings: StudySettings, labels: Collection[str], *, processes: int
) -> list[str]:
    """Return the budget in words, the same for every activation."""
    study, training = settings.study, settings.training
    lines = [
        f"{len(labels)} activations, {len(study.learning_rates)} learning rates on seed "
        f"{study.lr_seed} of {study.tuning_split}, then {len(study.seeds)} seeds on "
        f"{' and '.join(study.splits)}: {budget.total} runs, {budget.done} done, "
        f"{budget.left} left",
        f"every run: {settings.model.architecture.name}, {budget.tiles} tiles x "
        f"{training.epochs} epochs in batches of {training.batch_size} = {budget.steps} steps",
    ]
    if budget.seconds is None:
        return [*lines, "how long that takes is known after the first run"]
    whole = budget.left * budget.seconds / processes
    at_once = f", {processes} at a time" if processes > 1 else ""
    return [*lines, f"{budget.seconds:.0f} s a run{at_once}: about {duration(whole)} left"]


def duration(seconds: float) -> str:
    """Return a time in words, as in `2 h 05 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
