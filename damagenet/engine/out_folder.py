"""The folder of a run: made and tried out before any work, and kept to one run at a time."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from damagenet.errors import DamageNetError, OutputError

logger = logging.getLogger(__name__)


@contextmanager
def usable_folder(out: Path) -> Iterator[None]:
    """Make a folder and see that it can be written; take it away again if the block refuses.

    Raises:
        OutputError: If there is something else in its place, or nothing can be written there.
    """
    try:
        made = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"damagenet")
            probe.flush()
    except FileExistsError as err:
        raise OutputError(f"{out} is a file: name a folder with --out") from err
    except OSError as err:
        raise OutputError(
            f"cannot write into {out}: {err.strerror}; name another folder with --out"
        ) from err
    try:
        yield
    except DamageNetError:
        if made and not any(out.iterdir()):
            out.rmdir()
        raise


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder while the block runs.

    The lock is on the folder itself, so it leaves no file and ends with the process, however
    that ends. Where the file system has no locks, a warning is logged.

    Raises:
        OutputError: If another run is writing into the folder.
    """
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise OutputError(
            f"another run is writing into {out}: wait until it ends, or name another folder "
            "with --out"
        ) from None
    except OSError as err:
        logger.warning("%s cannot be locked (%s): start no other run into it", out, err.strerror)
    try:
        yield
    finally:
        os.close(folder)
