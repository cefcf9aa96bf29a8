"""Dynamic batching: requests that come together share batches on the device."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from api.problems import ServiceError
from api.waiting_line import Ask, Batch, Probabilities, WaitingLine

if TYPE_CHECKING:
    import torch

    from damagenet.inference import Images, Predictor

MOST_RETRY_S = 60
COMING_BYTES = 512 * 2**20
"""Bytes of the requests that are being read at a time."""


class Batching:
    """Puts chips of many requests through networks, as many batches at a time as suit the device.

    Args:
        wait_s: How long a batch that is not full waits for requests that are being read.
        queue_chips: Chips that may wait; a request that finds the line empty may bring more.
    """

    def __init__(self, *, wait_s: float, queue_chips: int) -> None:
        self._wait_s, self._queue_chips = wait_s, queue_chips
        self._line = WaitingLine()
        # Requests join in the event loop, batches end in threads of their own. A batch that ends
        # at once is told to the thread that began it, which holds the lock already.
        self._lock = threading.RLock()
        self._open = ExitStack()
        self._threads: ThreadPoolExecutor | None = None
        self._workers = self._running = self._coming = self._coming_bytes = 0
        self._chips_per_s = 0.0
        self._closed = False

    @property
    def waiting_chips(self) -> int:
        """Chips that no batch has taken."""
        return self._line.chips

    @contextmanager
    def coming(self, length: int) -> Iterator[None]:
        """Announce a request that is being read: a batch with room may wait for it.

        Args:
            length: Bytes that it will hold until it is read.

        Raises:
            ServiceError: 429 with Retry-After, if the line is full already.
        """
        self._refuse_if_full(1)
        self._count_coming(1, length)
        try:
            yield
        finally:
            self._count_coming(-1, -length)

    async def probabilities(
        self, predictor: "Predictor", images: tuple["Images", ...]
    ) -> Probabilities:
        """Return what `predictor.probabilities` returns; cancelled, its chips leave the line.

        Raises:
            ConfigError: If the images are not what the model takes.
            ServiceError: 429 with Retry-After, if the line is full.
        """
        predictor.check(images)
        ask = Ask(predictor=predictor, images=images, arrived=time.monotonic())
        if not ask.left:
            return predictor.probabilities(images)
        with self._lock:
            self._refuse_if_full(ask.left)
            self._threads = self._threads or self._hire(predictor.device)
            self._line.join(ask)
            self._begin()
        asyncio.get_running_loop().call_later(self._wait_s, self._begin)
        try:
            return await asyncio.wrap_future(ask.answer)
        finally:
            with self._lock:
                self._line.leave(ask)

    def close(self) -> None:
        """End the threads after the batches they are at; who still waits is refused."""
        with self._lock:
            self._closed = True
            while self._line.chips:
                self._line.batch_for(1).fail(_closing())
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        self._open.close()

    def _refuse_if_full(self, more: int) -> None:
        if self._closed:
            raise _closing()
        if not self._line.chips or self._line.chips + more <= self._queue_chips:
            return
        wait_s = min(ceil(self._line.chips / max(self._chips_per_s, 1.0)), MOST_RETRY_S)
        raise _full(
            f"{self._line.chips} chips wait already, of at most {self._queue_chips} "
            "(predict_queue_chips)",
            wait_s,
        )

    def _count_coming(self, requests: int, length: int) -> None:
        with self._lock:
            if length > 0 and self._coming_bytes + length > COMING_BYTES:
                raise _full(f"requests of {COMING_BYTES} bytes are being read already", 1)
            self._coming += requests
            self._coming_bytes += length

    def _begin(self) -> None:
        """Give batches to idle threads, as long as there are both."""
        with self._lock:
            # Chips that filled a batch are split over idle threads; the rest of them goes along.
            begun = False
            while self._threads and self._may_begin(waiting=not begun):
                begun = True
                batch = self._line.batch_for(self._workers - self._running)
                self._running += 1
                work = self._threads.submit(_timed, batch)
                work.add_done_callback(partial(self._end, batch))

    def _may_begin(self, *, waiting: bool) -> bool:
        idle = self._running < self._workers and not self._closed
        return idle and self._line.chips > 0 and not (waiting and self._worth_waiting())

    def _hire(self, device: "torch.device") -> ThreadPoolExecutor:
        from damagenet.devices import crew_of

        crew = self._open.enter_context(crew_of(device))
        self._workers = crew.workers
        return ThreadPoolExecutor(
            crew.workers, thread_name_prefix="predict", initializer=crew.prepare
        )

    def _worth_waiting(self) -> bool:
        """Return whether the next batch has room, time, and somebody to wait for."""
        first = self._line.first
        return (
            self._coming > 0
            and time.monotonic() < first.arrived + self._wait_s
            and not self._line.fills_a_batch()
        )

    def _end(self, batch: Batch, work: "Future[tuple[Probabilities, float]]") -> None:
        with self._lock:
            self._running -= 1
            error = work.exception()
            if error is not None:
                batch.fail(error)
            else:
                found, seconds = work.result()
                self._note_rate(len(batch) * self._workers / seconds)
                batch.fill(found)
            self._begin()

    def _note_rate(self, chips_per_s: float) -> None:
        self._chips_per_s = 0.9 * self._chips_per_s + 0.1 * chips_per_s


def _full(why: str, wait_s: int) -> ServiceError:
    return ServiceError(429, f"{why}: try again in {wait_s} s", {"Retry-After": str(wait_s)})


def _closing() -> ServiceError:
    return ServiceError(503, "the service is being stopped: ask again when it is back")


def _timed(batch: Batch) -> tuple[Probabilities, float]:
    started = time.monotonic()
    found = batch.probabilities()
    return found, max(time.monotonic() - started, 1e-6)
