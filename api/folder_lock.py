"""One runner in a job's folder at a time, over all machines that share it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process works in a folder, and keep others out while the block runs.

    The lock is on the folder itself: it leaves no file and ends with the process, however that
    ends.

    Raises:
        OSError: If the folder is not there, or its file system has no locks.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
