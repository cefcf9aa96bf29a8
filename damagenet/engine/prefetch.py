"""Reading ahead: the next batches are read while the network is busy with this one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


def prefetched(
    read: Callable[[Request], Answer],
    requests: Iterable[Request],
    *,
    ahead: int = 2,
    workers: int = 1,
    prepare: Callable[[], None] | None = None,
) -> Generator[Answer]:
    """Yield what `read` returns for each request, in order, reading in threads of its own.

    At most `ahead` answers wait beside the one being used. An error in `read` is raised here, at
    its place in the order. Closing the generator ends the threads: use `contextlib.closing`.

    Args:
        read: Called in a worker's thread.
        requests: Iterated in the caller's thread.
        ahead: Answers asked for before they are needed.
        workers: Threads.
        prepare: Called first in each thread.
    """
    executor = ThreadPoolExecutor(workers, thread_name_prefix="ahead", initializer=prepare)
    waiting: deque[Future[Answer]] = deque()
    try:
        for request in requests:
            waiting.append(executor.submit(read, request))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
