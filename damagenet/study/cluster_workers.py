"""Runs of a study on a Ray cluster: done anywhere, claimed and written down here."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from damagenet.cluster.connection import connected
from damagenet.errors import DamageNetError
from damagenet.study.execute import Task, execute
from damagenet.study.rows import Row, StudyFolder
from damagenet.study.workers import Ended

if TYPE_CHECKING:
    from damagenet.cluster.tasks import Tasks


@dataclass(slots=True)
class ClusterWorkers:
    """Runs under way on a cluster; otherwise as `workers.Workers`."""

    folder: StudyFolder
    tasks: "Tasks[Task, Row | DamageNetError]"
    _claims: dict[str, ExitStack] = field(default_factory=dict)
    _left_alone: list[Task] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tasks) + len(self._left_alone)

    def start(self, task: Task) -> None:
        """Let the cluster do a run that nobody else is doing."""
        claim = ExitStack()
        free = claim.enter_context(self.folder.claim(task.key))
        if not free or any(row.key == task.key for row in self.folder.rows()):
            claim.close()
            self._left_alone.append(task)
            return
        self._claims[task.key] = claim
        self.tasks.start(_everywhere(task))

    def ended(self) -> Iterator[Ended]:
        """Wait until at least one run has ended, and yield those that have, their rows kept."""
        while self._left_alone:
            yield Ended(task=self._left_alone.pop(), answer=None)
        for task, answer in self.tasks.ended():
            if isinstance(answer, Row):
                self.folder.add(answer)
            self._claims.pop(task.key).close()
            if isinstance(answer, Row | DamageNetError):
                yield Ended(task=task, answer=answer)
            else:
                yield Ended(task=task, answer=None, lost=answer.reason)

    def stop(self) -> None:
        """End all runs, and let others have them."""
        self.tasks.stop()
        for claim in self._claims.values():
            claim.close()
        self._claims.clear()


@contextmanager
def cluster_workers(
    folder: StudyFolder, *, address: str | None, threads: int
) -> Iterator[ClusterWorkers]:
    """Yield the workers of a cluster; as the block ends, so do runs that are under way.

    Args:
        folder: Of the study.
        address: Of the cluster; see `connected`.
        threads: Cores for each run.

    Raises:
        ConfigError: If there is no Ray, no such cluster, or no machine with so many cores.
    """
    with connected(address):
        from damagenet.cluster.tasks import Tasks

        workers = ClusterWorkers(folder, Tasks.of(_answer, cores=threads))
        try:
            yield workers
        finally:
            workers.stop()


def _answer(task: Task) -> Row | DamageNetError:
    """Do a run on a node, with a folder there for its weights and logs."""
    with tempfile.TemporaryDirectory(prefix="damagenet-") as folder:
        try:
            return execute(replace(task, work=Path(folder) / task.key))
        except DamageNetError as err:
            return err


def _everywhere(task: Task) -> Task:
    """Return the task with a path of tiles that means the same from any folder."""
    data = task.settings.data
    absolute = data.model_copy(update={"path": Path(data.path).absolute()})
    return replace(task, settings=task.settings.model_copy(update={"data": absolute}))
