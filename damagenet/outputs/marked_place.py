"""A marked place in a finished page: what stands there can be put in, or replaced, later."""

from pathlib import Path

from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears, unwritable


def put_in_place(path: Path, section: str, *, begin: str, end: str) -> bool:
    """Put a section into a page, in place of what stands between two marks.

    The scene is not needed for it, which may lie elsewhere by now.

    Args:
        path: The page.
        section: With the marks around it.
        begin: Mark before the place.
        end: Mark after it.

    Returns:
        False where the page has no such place: it was written by an earlier damagenet.

    Raises:
        OutputError: If the page cannot be read or written.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise OutputError(f"cannot read {path}: {err}; assess the scene again") from err
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        return False
    with appears(path) as temporary:
        try:
            temporary.write_text(before + section + after, encoding="utf-8")
        except OSError as err:
            raise unwritable(path, err) from err
    return True
