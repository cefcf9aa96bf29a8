"""The progress of a run on stderr: scene, units per second, time left."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from damagenet.engine.run_result import RunProgress


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Callable[["RunProgress"], None] | None]:
    """Yield what draws the progress of a run on stderr; None where nothing is to be shown."""
    if not shown:
        yield None
        return
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with _logging_through(console):
        try:
            yield _Drawing(bar)
        finally:
            # A bar that was never drawn would still end in an empty line.
            if bar.live.is_started:
                bar.stop()


@contextmanager
def quieted(quiet: bool) -> Iterator[None]:
    """Log nothing below an error while quiet."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR if quiet else before)
    try:
        yield
    finally:
        root.setLevel(before)


@contextmanager
def _logging_through(console: Console) -> Iterator[None]:
    """Write log lines above the bar instead of through it."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [_AboveTheBar(console)]
    try:
        yield
    finally:
        root.handlers[:] = before


class _AboveTheBar(logging.Handler):
    """Writes whole lines on the bar's console: ours, and warnings of others."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.partition(".")[0] in ("damagenet", "data_prep", "models")
        if ours or record.levelno >= logging.WARNING:
            line = self.format(record)
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)


class _Drawing:
    """Keeps one line, of the scene that is being assessed."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, rate="", visible=False)
        self._number = 0

    def __call__(self, progress: "RunProgress") -> None:
        scene = progress.scene
        self._bar.start()
        if progress.number != self._number:
            self._number = progress.number
            self._bar.reset(self._task)
        made = scene.units_done - scene.units_kept
        self._bar.update(
            self._task,
            description=f"scene {progress.number} of {progress.scenes}: {scene.scene.name}",
            total=scene.units_total,
            completed=scene.units_done,
            rate=f"{made / scene.seconds:.0f} units/s" if made and scene.seconds else "",
            visible=True,
        )
