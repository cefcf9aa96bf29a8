"""The folder of a run: made and tried out before any work."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from damagenet.errors import DamageNetError, OutputError


@contextmanager
def usable_folder(out: Path) -> Iterator[None]:
    """Make a folder and see that it can be written; take it away again if the block refuses.

    Raises:
        OutputError: If there is something else in its place, or nothing can be written there.
    """
    made = not out.exists()
    try:
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
