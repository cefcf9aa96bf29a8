"""Workers that stay: each keeps a GPU or a core of the cluster, and answers call after call.

Ray decides where they run and sees when one is lost. A call that a lost worker left unanswered is
put to another one; Ray's own repeats would wait for the lost worker to come back, which it
cannot while the others hold the nodes that are left.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

from damagenet.errors import ConfigError

logger = logging.getLogger(__name__)

CALLS_EACH = 2
"""Calls that a worker holds at a time, so that it need not wait for the driver in between."""
MOST_TRIES = 4
"""Workers that may be lost over one call before the call is given up."""
TURN_S = 1.0
"""The driver comes back after so long, answer or not."""
SILENT_S = 30
"""After so long without a worker it is said."""

Job = TypeVar("Job")
Answer = TypeVar("Answer")
Handle = Any  # an actor of Ray, whose methods no checker knows
Ref: TypeAlias = "ray.ObjectRef[Any]"  # what is there when it is there, likewise


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of an answer: the workers that were asked were all lost.

    Attributes:
        reason: What Ray says of the last one.
    """

    reason: str


@dataclass(slots=True)
class Call(Generic[Job]):
    """A call that has not been answered yet."""

    job: Job
    tries: int = 0
    """Workers that were lost over it, as far as one can tell."""

    @property
    def room(self) -> int:
        """Return how many calls' room it takes of a worker.

        One over which a worker may have been lost is asked alone. The answer to a call before may
        go down with its worker, so that of two calls the innocent one would be blamed.
        """
        return CALLS_EACH if self.tries else 1


@dataclass(slots=True, kw_only=True)
class Pool(Generic[Job, Answer]):
    """Some workers of one kind.

    Attributes:
        size: How many.
        start: Makes one; Ray places it as soon as there is room.
        ready: Asks a new worker to get ready.
        check: Given the answer to that; raises if the worker cannot be used.
        ask: Asks a worker to do a job.
    """

    size: int
    start: Callable[[], Handle]
    ready: Callable[[Handle], Ref]
    check: Callable[[Any], None]  # what `ready` answers is between the two
    ask: Callable[[Handle, Job], Ref]
    _waiting: deque[Call[Job]] = field(default_factory=deque)
    _asked: dict[Ref, tuple[Handle, Call[Job]]] = field(default_factory=dict)
    _starting: dict[Ref, Handle] = field(default_factory=dict)
    _busy: dict[Handle, int] = field(default_factory=dict)
    _never_ready: int = 0
    _turns: int = 0

    def __enter__(self) -> "Pool[Job, Answer]":
        for _ in range(self.size):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._busy, *self._starting.values()):
            ray.kill(worker)

    @property
    def has_room(self) -> bool:
        """Whether another call would keep a worker from waiting."""
        return len(self._waiting) + len(self._asked) < self.size * CALLS_EACH

    def grow(self, size: int) -> None:
        """Start more workers up to so many; where it is less, the lost ones may come back."""
        for _ in range(size - self.size):
            self._start()
        self.size = max(self.size, size)

    def submit(self, job: Job) -> None:
        """Let a worker do a job; see `answers`."""
        self._waiting.append(Call(job))
        self._hand_out()

    def answers(self) -> Iterator[tuple[Job, Answer | Lost]]:
        """Wait a moment at most, and yield what has been answered in it, in any order.

        Raises:
            ConfigError: If workers cannot start.
        """
        self._hand_out()
        pending = [*self._starting, *self._asked]
        if not pending:
            return
        done, _ = ray.wait(pending, timeout=TURN_S)
        self._tell_silence(bool(done))
        for ref in done:
            if ref in self._starting:
                self._began(ref)
            else:
                yield from self._ended(ref)

    def _start(self) -> None:
        worker = self.start()
        self._starting[self.ready(worker)] = worker

    def _hand_out(self) -> None:
        while self._waiting and self._busy:
            worker = min(self._busy, key=self._busy.__getitem__)
            if self._busy[worker] + self._waiting[0].room > CALLS_EACH:
                return
            call = self._waiting.popleft()
            self._busy[worker] += call.room
            self._asked[self.ask(worker, call.job)] = worker, call

    def _began(self, ref: Ref) -> None:
        worker = self._starting.pop(ref)
        try:
            answer = ray.get(ref)
        except RayTaskError:
            raise
        except RayError as err:
            self._never_ready += 1
            refused = isinstance(err, RayActorError) and err.actor_init_failed
            if refused or self._never_ready > MOST_TRIES:
                raise ConfigError(
                    f"workers cannot start on the Ray cluster ({reason_of(err)}): install the "
                    "same damagenet with its extra ray on every machine of it"
                ) from err
            self._start()
        else:
            self.check(answer)
            self._never_ready = 0
            self._busy[worker] = 0

    def _ended(self, ref: Ref) -> Iterator[tuple[Job, Answer | Lost]]:
        worker, call = self._asked[ref]
        try:
            answer: Answer = ray.get(ref)
        except RayTaskError:
            raise  # a fault of ours, which every worker would repeat
        except RayError as err:
            yield from self._lost(worker, reason_of(err))
        else:
            del self._asked[ref]
            self._busy[worker] -= call.room
            yield call.job, answer

    def _lost(self, worker: Handle, reason: str) -> Iterator[tuple[Job, Lost]]:
        """Start another worker, and put its calls to any, or give up the one it was busy with."""
        logger.warning("a worker was lost (%s): what it had to do goes to others", reason)
        del self._busy[worker]
        ray.kill(worker)
        self._start()
        left = [ref for ref, (asked, _) in self._asked.items() if asked == worker]
        first, *others = [self._asked.pop(ref)[1] for ref in left]
        self._waiting.extendleft(reversed(others))
        # Calls are answered in turn: the others had not begun, or it was not this one.
        first.tries += 1
        if first.tries < MOST_TRIES:
            self._waiting.appendleft(first)
        else:
            yield first.job, Lost(reason)

    def _tell_silence(self, heard: bool) -> None:
        self._turns = 0 if heard or self._busy else self._turns + 1
        if self._turns == SILENT_S / TURN_S:
            logger.warning(
                "no worker has started yet: the cluster's cores or GPUs are taken, or its nodes "
                "are down (see `ray status`); waiting"
            )


def reason_of(err: RayError) -> str:
    """Return the first sentence of the last line of an error of Ray, which is the most specific."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    if isinstance(err, OutOfMemoryError):
        lines = lines[:1]  # what follows is advice
    return lines[-1].partition(". ")[0].rstrip(".") if lines else type(err).__name__
