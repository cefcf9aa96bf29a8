"""Calls of one function, each in a process of its own somewhere on the cluster."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from damagenet.cluster.connection import count_slots
from damagenet.cluster.pool import MOST_TRIES, TURN_S, Lost, Ref, reason_of
from damagenet.errors import ConfigError

Job = TypeVar("Job")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Tasks(Generic[Job, Answer]):
    """Jobs that Ray places, and places again where a node or a process was lost.

    Attributes:
        remote: The function, as Ray has it.
        slots: Jobs that the cluster has room for at the same time.
    """

    remote: Any  # a remote function, which no checker knows
    slots: int
    _asked: dict[Ref, Job] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Callable[[Job], Answer], *, cores: int) -> "Tasks[Job, Answer]":
        """Return calls of a function that takes so many cores, and a GPU where there are any.

        Raises:
            ConfigError: If no machine of the cluster has so many cores.
        """
        gpus = count_slots("cuda")
        every = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types there
        nodes = [node["Resources"].get("CPU", 0) for node in every if node["Alive"]]
        if cores > max(nodes, default=0):
            raise ConfigError(
                f"--threads {cores}: no machine of the Ray cluster has so many cores "
                f"(the largest has {max(nodes, default=0):g})"
            )
        room = int(sum(cores_there // cores for cores_there in nodes))
        remote = ray.remote(
            num_cpus=cores,
            num_gpus=min(gpus, 1),
            # A fresh process for each: what one run has set or measured, the next must not see.
            max_calls=1,
            max_retries=MOST_TRIES - 1,
        )(function)
        return cls(remote=remote, slots=min(gpus, room) if gpus else room)

    def __len__(self) -> int:
        return len(self._asked)

    def start(self, job: Job) -> None:
        """Let the cluster do a job; see `ended`."""
        self._asked[self.remote.remote(job)] = job

    def ended(self) -> Iterator[tuple[Job, Answer | Lost]]:
        """Wait until at least one job has ended, and yield those that have."""
        done: list[Ref] = []
        while self._asked and not done:
            done, _ = ray.wait(list(self._asked), timeout=TURN_S)
        for ref in done:
            job = self._asked.pop(ref)
            try:
                yield job, ray.get(ref)
            except RayTaskError:
                raise  # a fault of ours
            except RayError as err:
                yield job, Lost(reason_of(err))

    def stop(self) -> None:
        """End all jobs that are under way."""
        for ref in self._asked:
            ray.cancel(ref, force=True)
        self._asked.clear()
