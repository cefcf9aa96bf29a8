"""Processes that train together: the first one speaks, and one that ends takes the others along."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from types import FrameType

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from damagenet.errors import CancelledError, OutputError

INTERRUPTED = 130
SECONDS_TO_END = 3
"""How long a process that has lost another one waits to learn how that ended."""
LOST = ("Connection closed", "Connection reset", "Broken pipe", "connectFullMesh", "Timed out")
"""What gloo says, in a bare RuntimeError, where another process is gone."""


def let_only_the_first_speak() -> None:
    """Silence the log of all processes but the first, which would say everything again."""
    if _number():
        logging.getLogger("damagenet").setLevel(logging.ERROR)


@contextmanager
def ending_together(trainer: Trainer) -> Iterator[None]:
    """Let what ends one process end all, and be said once.

    Raises:
        CancelledError: In the first process of a machine, if another one was killed.
        SystemExit: In a process whose reason another one says.
    """
    try:
        yield
    except BaseException as err:
        launched = list(getattr(trainer.strategy.launcher, "procs", []))
        if _is_lost(err):
            raise _how_another_ended(launched, trainer) from err
        for process in launched:
            process.kill()
        if isinstance(err, KeyboardInterrupt) and trainer.global_rank > 0:
            raise SystemExit(INTERRUPTED) from err
        raise


class Together(Callback):
    """Checks, as soon as all processes have met, that they see one folder; hears SIGTERM."""

    def __init__(self, seen_by_all: Path) -> None:
        """Take a file that the first process has written."""
        self.seen_by_all = seen_by_all

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, before the first step.

        Raises:
            OutputError: If the folder of this machine is not the first one's.
        """
        del trainer, pl_module
        if not self.seen_by_all.exists():
            folder = self.seen_by_all.parent
            raise OutputError(
                f"{folder} is not the folder that the first machine writes to: name one that all "
                "machines share"
            )
        # Lightning's own handler waits for the other processes, who may be waiting for this one.
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _number() -> int:
    """Return which process this is; Lightning reads it from the environment."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def _is_lost(err: BaseException) -> bool:
    """Whether an error says that another process does not answer."""
    if isinstance(err, distributed.DistError):
        return True
    return type(err) is RuntimeError and any(words in str(err) for words in LOST)


def _how_another_ended(launched: list[Popen[bytes]], trainer: Trainer) -> BaseException:
    """Return what ends this process, too, and end those that it has started."""
    for process in launched:
        with suppress(TimeoutExpired):
            process.wait(SECONDS_TO_END)
    codes = {number: process.returncode for number, process in enumerate(launched, start=1)}
    for process in launched:
        process.kill()
    for number, code in codes.items():
        if code is not None and code < 0:
            return CancelledError(
                f"process {number + 1} of the training was killed (signal {-code}; with 9, often "
                "for want of memory): run the same command again to continue"
            )
    if INTERRUPTED in codes.values():
        return KeyboardInterrupt()
    if any(codes.values()) or trainer.local_rank > 0:
        return SystemExit(1)  # who ended has said why
    return CancelledError(
        "another process of the training has ended, whose own message says why: run the same "
        "command again to continue"
    )
