"""A whole study: what is left of it, done by several processes or by a cluster, row by row."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from damagenet.errors import ConfigError, DamageNetError
from damagenet.study.budget import Progress, budget_lines, duration, progress, run_budgets
from damagenet.study.checks import check_study, chosen_labels
from damagenet.study.cluster_workers import ClusterWorkers, cluster_workers
from damagenet.study.execute import Task, data_fingerprint
from damagenet.study.plan import Run, planned_runs
from damagenet.study.rows import ROWS_FILE, Row, StudyFolder
from damagenet.study.settings import StudySettings
from damagenet.study.workers import Ended, Workers, terminated_as_interrupted
from data_prep.harvey import HarveyTiles

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much of a study is done in one go, and by whom.

    Attributes:
        only: Labels of the variants that are run; empty for all.
        limit: At most so many runs.
        processes: Runs at the same time; None is one here, and on a cluster as many as fit.
        threads: Threads of each; None leaves torch's own choice, and is one on a cluster.
        command: Written into the cards of trained networks.
        engine: Who does the runs: processes of this machine, or a Ray cluster.
        ray_address: The cluster; None starts one of this machine's cores.
    """

    only: tuple[str, ...] = ()
    limit: int | None = None
    processes: int | None = None
    threads: int | None = None
    command: str = ""
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None


@dataclass(slots=True)
class Sitting:
    """What happened in one go.

    Attributes:
        rows: What was finished, in order.
        lost: Runs that ended without a row, in words.
    """

    rows: list[Row] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Number of runs that are over, with or without a row."""
        return len(self.rows) + len(self.lost)


def run_study(settings: StudySettings, folder: StudyFolder, effort: Effort) -> Sitting:
    """Do the runs of a study that have no row yet, and add a row for each.

    Several calls may work in the same folder at the same time: no run is done twice.

    Raises:
        ConfigError: If a setting is wrong, before data is read, or the folder holds runs on
            other tiles.
        DamageNetError: As training does, where it is not a run that failed.
        KeyboardInterrupt: If somebody pressed Ctrl-C; all rows so far are kept.
    """
    check_study(settings)
    labels = chosen_labels(settings, effort.only)
    sitting = Sitting()
    tried: set[str] = set()
    with _workers(effort, folder) as (workers, processes):
        _tell_budget(settings, folder, labels, processes=processes)
        while True:
            tasks = _open_tasks(settings, folder, effort, labels)
            while len(workers) < processes and not _spent(effort, sitting, len(workers)):
                task = next((task for task in tasks if task.key not in tried), None)
                if task is None:
                    break
                tried.add(task.key)
                workers.start(task)
            if not len(workers):
                return sitting
            for ended in workers.ended():
                _keep(ended, sitting)
                # Rows of other machines may have taken longer or shorter.
                ahead = progress(settings, _by_key(folder), labels, timed=sitting.rows)
                _tell(ended, sitting, ahead, processes=processes)


@contextmanager
def _workers(effort: Effort, folder: StudyFolder) -> Iterator[tuple[Workers | ClusterWorkers, int]]:
    """Yield who does the runs, and how many at the same time."""
    if effort.engine == "local":
        with terminated_as_interrupted(), Workers(folder) as here:
            yield here, effort.processes or 1
        return
    threads = effort.threads or 1
    with (
        cluster_workers(folder, address=effort.ray_address, threads=threads) as there,
        terminated_as_interrupted(),  # Ray has put its own in place as it was joined
    ):
        yield there, effort.processes or there.tasks.slots


def _tell_budget(
    settings: StudySettings, folder: StudyFolder, labels: Collection[str], *, processes: int
) -> None:
    """Say what is ahead, once the tiles are known to be those of the rows."""
    tiles = HarveyTiles.open(settings.data.path)
    rows = _by_key(folder)
    other = {row.data for row in rows.values()} - {data_fingerprint(tiles)}
    if other:
        raise ConfigError(
            f"{folder.out / ROWS_FILE} holds runs on other tiles ({', '.join(sorted(other))}) "
            f"than those in {settings.data.path}: choose another --out"
        )
    budgets = run_budgets(settings, tiles)
    ahead = progress(settings, rows, labels)
    for line in budget_lines(settings, labels, budgets, ahead, processes=processes):
        log.info("%s", line)


def _spent(effort: Effort, sitting: Sitting, working: int) -> bool:
    return effort.limit is not None and sitting.ended + working >= effort.limit


def _open_tasks(
    settings: StudySettings, folder: StudyFolder, effort: Effort, labels: Collection[str]
) -> Iterator[Task]:
    """Yield the runs that have no row and that nobody is doing, the most urgent first."""
    rows = _by_key(folder)
    for key, run in planned_runs(settings, rows, labels).items():
        if key not in rows and folder.is_free(key):
            yield Task(
                settings=settings,
                run=run,
                work=folder.work_place(key),
                threads=effort.threads,
                command=effort.command,
            )


def _by_key(folder: StudyFolder) -> dict[str, Row]:
    return {row.key: row for row in folder.rows()}


def _keep(ended: Ended, sitting: Sitting) -> None:
    """Keep what a process said; raise what it could not get over."""
    if isinstance(ended.answer, DamageNetError):
        raise ended.answer
    if isinstance(ended.answer, Row):
        sitting.rows.append(ended.answer)
    elif ended.lost:
        sitting.lost.append(f"{_name(ended.task.run)}: {ended.lost}")


def _tell(ended: Ended, sitting: Sitting, ahead: Progress, *, processes: int) -> None:
    if isinstance(ended.answer, Row):
        left = f"{duration(ahead.seconds / processes)} left" if ahead.seconds else "all done"
        name, said = _name(ended.task.run), _said(ended.answer)
        log.info("%d/%d %s: %s; %s", ahead.done, ahead.total, name, said, left)
    elif ended.lost:
        log.warning("left no row: %s", sitting.lost[-1])


def _name(run: Run) -> str:
    return f"{run.variant.label}, {run.split}, seed {run.seed}, lr {run.lr:g}"


def _said(row: Row) -> str:
    if row.status == "failed":
        return f"failed: {row.reason}"
    scores = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}"
        for name in ("accuracy", "balanced_accuracy", "auroc")
        if (value := getattr(row, name)) is not None
    )
    return f"{scores}, validation {row.validation:.4f}, {row.seconds:.0f} s"
