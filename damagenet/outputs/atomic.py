"""Files that appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from damagenet.errors import DamageNetError, OutputError


@contextmanager
def appears(path: Path) -> Iterator[Path]:
    """Yield a place to write to; what is there when the block ends becomes `path`, in one step.

    The place is a file of the same name in a hidden folder beside `path`, so that the last step
    is a rename and side files of a driver (journals, statistics) never meet the results. Whatever
    goes wrong, `path` stays as it was and the hidden folder goes away; what a killed run left
    behind is cleared by the next one.

    Args:
        path: The file to make or to replace; missing folders above it are made.

    Raises:
        OutputError: If the folder cannot be written, the disk is full, or nothing was written.
    """
    hidden = path.parent / f".{path.name}.partial"
    temporary = hidden / path.name
    try:
        _clear(hidden)
        hidden.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
    except DamageNetError:
        # It says itself what was wrong, with a scene that could not be read, say.
        raise
    except OSError as err:
        raise unwritable(path, err) from err
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def unwritable(path: Path, err: Exception) -> OutputError:
    """Return the error that says why a file could not be written, with the cause in one line."""
    while err.__cause__ is not None and "previous exception" in str(err):
        err = err.__cause__  # type: ignore[assignment]  # rasterio chains exceptions only
    cause = getattr(err, "strerror", None) or " ".join(str(err).split()) or type(err).__name__
    return OutputError(
        f"cannot write {path}: {cause}; nothing was changed there: free space or choose another "
        "folder with --out"
    )


def _clear(hidden: Path) -> None:
    if hidden.exists():
        shutil.rmtree(hidden)
