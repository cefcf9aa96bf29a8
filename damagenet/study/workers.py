"""Runs in processes of their own: started, waited for, and ended together."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import FrameType

from damagenet.errors import DamageNetError
from damagenet.study.execute import Task, execute
from damagenet.study.rows import Row, StudyFolder

INTERRUPTED = 130
SECONDS_TO_END = 10
Answer = Row | DamageNetError | None
"""What a process says in the end: its row, what stopped it, or None for a run of somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that has ended.

    Attributes:
        task: What it did.
        answer: What it said.
        lost: Why it said nothing, as in `exit code -9`; empty where it said something.
    """

    task: Task
    answer: Answer
    lost: str = ""


@dataclass(slots=True)
class Workers:
    """Processes at work; as a context manager it lets none survive an error."""

    folder: StudyFolder
    _working: dict[Connection, tuple[Task, BaseProcess]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._working)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        processes = [process for _task, process in self._working.values()]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SECONDS_TO_END)
            if process.is_alive():
                process.kill()
        self._working.clear()

    def start(self, task: Task) -> None:
        """Let a process do a run."""
        context = _context()
        ours, theirs = context.Pipe(duplex=False)
        # It may need processes of its own to load tiles, which a daemon may not have.
        process = context.Process(target=_work, args=(theirs, task, self.folder), daemon=False)
        process.start()
        theirs.close()
        self._working[ours] = task, process

    def ended(self) -> Iterator[Ended]:
        """Wait until at least one process has ended, and yield those that have."""
        for connection in wait(list(self._working)):
            if not isinstance(connection, Connection):
                continue
            answer: Answer = None
            said = True
            try:
                answer = connection.recv()
            except EOFError:
                said = False
            task, process = self._working.pop(connection)
            process.join()
            connection.close()
            lost = "" if said else f"exit code {process.exitcode or 1}"
            yield Ended(task=task, answer=answer, lost=lost)


def _context() -> ForkServerContext | SpawnContext:
    """Return how processes are made: by a server that has imported all of this, if there is one.

    That saves the seconds of importing torch, and a study of hours stays with one code.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _work(answers: Connection, task: Task, folder: StudyFolder) -> None:
    """Do a run that nobody else is doing, and keep its row before saying anything."""
    answer: Answer
    try:
        answer = _row_of(task, folder)
    except DamageNetError as err:
        answer = err
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    # Whoever asked may have been killed meanwhile; the row is kept.
    with suppress(BrokenPipeError):
        answers.send(answer)


def _row_of(task: Task, folder: StudyFolder) -> Row | None:
    with terminated_as_interrupted(), folder.claim(task.key) as free:
        if not free or any(row.key == task.key for row in folder.rows()):
            return None
        row = execute(task)
        folder.add(row)
    return row


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let a polite request to end (SIGTERM) do what Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before: Callable[[int, FrameType | None], object] | int | None
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
