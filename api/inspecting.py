"""Looking into what was sent: in threads of its own, and not beyond the end of the service."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from api.problems import ServiceError

THREADS = 8
"""Requests that are looked into at a time; others wait their turn without holding a thread."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspecting:
    """The threads of one service that look into files.

    Attributes:
        closing: Set when the service is told to end.
    """

    closing: Event = field(default_factory=Event)
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(THREADS))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what a function returns, called in a thread when it is its turn."""
        return await to_thread.run_sync(work, limiter=self.threads)

    def require_open(self) -> None:
        """Raise ServiceError 503 where the service is about to end."""
        require_open(self.closing)


def require_open(closing: Event) -> None:
    """Raise ServiceError 503 where the service is about to end.

    Args:
        closing: Set when it is told to.
    """
    if closing.is_set():
        raise ServiceError(
            503, "the service is about to end: send it again soon", {"Retry-After": "10"}
        )
