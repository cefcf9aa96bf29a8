"""A worker's hold on its runner: start it, give it orders, hear it, kill it."""

import subprocess
import sys
import threading
from queue import Empty, SimpleQueue
from typing import IO

from pydantic import ValidationError

from api.orders import Order, Told


class RunnerEndedError(Exception):
    """The runner's process ended without being asked: out of memory, or killed."""


class RunnerProcess:
    """One runner, alive until it is killed; its models stay loaded between orders."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "api.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(
            target=_pass_on, args=(self._process.stdout, self._lines), daemon=True, name="answers"
        ).start()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take an order."""
        return self._process.poll() is None

    def send(self, order: Order) -> None:
        """Give it an order; raise RunnerEndedError if it is not there any more."""
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(order.model_dump_json() + "\n")
                stdin.flush()
        except OSError as err:
            raise RunnerEndedError from err

    def hear(self, wait_s: float) -> Told | None:
        """Return the newest thing it told, or None where it said nothing in time.

        Raises:
            RunnerEndedError: If it is not there any more.
        """
        try:
            line = self._lines.get(timeout=wait_s)
        except Empty:
            return None
        if line is None:
            raise RunnerEndedError
        try:
            return Told.model_validate_json(line)
        except ValidationError as err:
            # Half a line: it was killed while it spoke.
            raise RunnerEndedError from err

    def kill(self) -> None:
        """End it at once, whatever it does, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _close(pipe)


def _pass_on(answers: IO[str], lines: "SimpleQueue[str | None]") -> None:
    try:
        for line in answers:
            lines.put(line)
    except ValueError:
        # The pipe was closed here, after the process was killed.
        pass
    lines.put(None)


def _close(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        # What was left to say to a dead process.
        return
