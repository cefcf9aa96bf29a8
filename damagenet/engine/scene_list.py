"""From what a person names on the command line to scenes, each with a folder of its own."""

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from damagenet.assessment import ASSESSMENT_FILE
from damagenet.errors import ConfigError

ENDINGS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})
"""Files that a folder is searched for, in any case."""

RESERVED = frozenset(
    {"run.json", "failures.csv", *(f"damage.{e}" for e in ("gpkg", "geojson", "parquet", "csv"))}
)
"""Names in a run's folder that no scene's folder may take."""


def find_scenes(named: Sequence[str]) -> list[Path]:
    """Return the scenes that files, folders, globs and list files name, each once, in order.

    A folder is searched recursively for GeoTIFF, PNG and JPEG, leaving out what damagenet wrote
    and hidden files. A `.txt` file holds one such name a line, but no other list; `#` starts a
    comment, and names count from the list's own folder. Patterns name no lists.

    Raises:
        ConfigError: If a name leads to nothing, or a list cannot be read.
    """
    found = [path for name in named for path in _expand(name, Path())]
    if not found:
        raise ConfigError("no scene was named: give files, folders, globs or a list (.txt)")
    once: dict[Path, Path] = {}
    for path in found:
        once.setdefault(path.resolve(), path)
    return list(once.values())


def folder_names(
    scenes: Sequence[Path], known: Mapping[Path, str] | None = None
) -> dict[Path, str]:
    """Name the folder of every scene: its stem, or its path below the common parent.

    Args:
        scenes: Different files.
        known: Folder names that earlier runs gave to these or other scenes; they are kept.
    """
    known = known or {}
    names = {scene: known[scene.resolve()] for scene in scenes if scene.resolve() in known}
    others = {name.casefold() for path, name in known.items()}
    taken = RESERVED | others
    waiting = [scene for scene in scenes if scene not in names]
    for attempt in (_stems, _paths_below_parent, _paths_with_endings):
        proposed = attempt(waiting)
        counts = Counter(name.casefold() for name in proposed.values())
        free = {
            scene: name
            for scene, name in proposed.items()
            if counts[name.casefold()] == 1 and name.casefold() not in taken
        }
        names |= free
        taken |= {name.casefold() for name in free.values()}
        waiting = [scene for scene in waiting if scene not in free]
    return names | _numbered(waiting, taken)


def _expand(name: str, start: Path) -> list[Path]:
    if "://" in name or name.startswith("/vsi"):
        return [Path(name)]  # opening it says whether such addresses are allowed
    if not name.strip():
        raise ConfigError("a scene's name is empty: give files, folders, globs or a list (.txt)")
    path = start / name
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and path.suffix.lower() == ".txt":
        return _in_list(path)
    if path.exists():
        return [path]
    if glob.has_magic(name):
        # pathlib's glob takes no absolute pattern.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        scenes = [match for match in matches if not match.lower().endswith(".txt")]
        found = [scene for match in scenes for scene in _expand(match, Path())]
        if found:
            return found
    raise ConfigError(f"no scene at {path}: check the path, the pattern or the folder's name")


def _in_folder(folder: Path) -> list[Path]:
    found = []
    for parent, subfolders, files in os.walk(folder):
        here = Path(parent)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        # Our own maps are rasters too; assessing them would be nonsense.
        ours = "damage." if ASSESSMENT_FILE in files else "."
        found += [
            here / name
            for name in files
            if Path(name).suffix.lower() in ENDINGS and not name.startswith((".", ours))
        ]
    if not found:
        endings = ", ".join(sorted(ENDINGS))
        raise ConfigError(f"no scene in folder {folder}: it holds no file ending in {endings}")
    return sorted(found)


def _in_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"cannot read the list of scenes {path}: it must be a text file") from err
    names = [line.split("#", 1)[0].strip() for line in lines]
    if any(name.lower().endswith(".txt") for name in names):
        raise ConfigError(f"the list {path} names another list (.txt): write scenes into it")
    found = [scene for name in names if name for scene in _expand(name, path.parent)]
    if not found:
        raise ConfigError(f"the list {path} names no scene: write one path a line")
    return found


def _stems(scenes: Sequence[Path]) -> dict[Path, str]:
    return {scene: scene.stem for scene in scenes}


def _paths_below_parent(scenes: Sequence[Path]) -> dict[Path, str]:
    groups = defaultdict(list)
    for scene in scenes:
        groups[scene.stem.casefold()].append(scene)
    return {scene: _below(scene, group) for group in groups.values() for scene in group}


def _below(scene: Path, group: Sequence[Path]) -> str:
    parent = os.path.commonpath([path.resolve().parent for path in group])
    relative = scene.resolve().relative_to(parent).with_suffix("")
    return "__".join(relative.parts)


def _paths_with_endings(scenes: Sequence[Path]) -> dict[Path, str]:
    below = _paths_below_parent(scenes)
    return {scene: f"{name}_{scene.suffix[1:].lower()}" for scene, name in below.items()}


def _numbered(scenes: Sequence[Path], taken: Iterable[str]) -> dict[Path, str]:
    used, names = set(taken), {}
    for scene in scenes:
        number = 2
        while f"{scene.stem}-{number}".casefold() in used:
            number += 1
        names[scene] = f"{scene.stem}-{number}"
        used.add(names[scene].casefold())
    return names
