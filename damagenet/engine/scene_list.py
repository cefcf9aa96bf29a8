"""From what a person names on the command line to scenes, each with a folder of its own."""

import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from damagenet.addresses import RemotePath, is_address, remote_path
from damagenet.assessment import ASSESSMENT_FILE, SourceItem
from damagenet.engine.source_items import ENDINGS as ITEM_ENDINGS
from damagenet.engine.source_items import read_items
from damagenet.errors import ConfigError

ENDINGS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg"})
"""Files that a folder is searched for, in any case."""

RESERVED = frozenset(
    {
        "run.json",
        "failures.csv",
        "collection.json",
        *(f"damage.{e}" for e in ("gpkg", "geojson", "parquet", "csv")),
    }
)
"""Names in a run's folder that no scene's folder may take."""


Found = tuple[Path, SourceItem | None]
"""A scene, and the STAC Item that led to it."""


def find_scenes(named: Sequence[str], asset: str | None = None) -> list[Path]:
    """Return the scenes that files, folders, globs, addresses, lists and STAC Items name.

    Each comes once, in order. A folder is searched recursively for GeoTIFF, PNG and JPEG, leaving
    out what damagenet wrote and hidden files. A `.txt` file holds one such name a line, but no
    other list; `#` starts a comment, and names count from the list's own folder. Patterns name no
    lists.

    Args:
        named: What a person wrote.
        asset: Key of the asset of STAC Items that is the scene.

    Raises:
        ConfigError: If a name leads to nothing, or a list or Items cannot be read.
    """
    return list(find_with_items(named, asset))


def find_with_items(
    named: Sequence[str], asset: str | None = None
) -> dict[Path, SourceItem | None]:
    """Return the scenes of `find_scenes`, each with the STAC Item that led to it.

    Raises:
        ConfigError: As `find_scenes`.
    """
    try:
        found = [one for name in named for one in _expand(name, Path(), asset)]
    except OSError as err:  # a folder that may not be looked into, a name that is too long
        raise ConfigError(f"cannot look for scenes at {err.filename}: {err.strerror}") from err
    if not found:
        raise ConfigError("no scene was named: give files, folders, globs or a list (.txt)")
    once: dict[Path, Found] = {}
    for path, item in found:
        first, _ = once.setdefault(path.resolve(), (path, item))
        _same_query(first, path)
    return dict(once.values())


def folder_names(
    scenes: Sequence[Path],
    known: Mapping[Path, str] | None = None,
    items: Mapping[Path, SourceItem | None] | None = None,
) -> dict[Path, str]:
    """Name the folder of every scene: its Item's id, its stem, or its path below the common parent.

    Names are given as if none of the scenes were known, so that a run that was interrupted goes on
    in the folders that it began.

    Args:
        scenes: Different files.
        known: Folder names that earlier runs gave to these or other scenes; they are kept.
        items: The STAC Items that led to them.
    """
    known = known or {}
    ids = {path: _folder_of(item.id) for path, item in (items or {}).items() if item is not None}
    own = {scene: ids.get(scene, _stem(scene)) for scene in scenes}
    kept = {scene: known[scene.resolve()] for scene in scenes if scene.resolve() in known}
    here = {scene.resolve() for scene in kept}
    elsewhere = {name.casefold() for path, name in known.items() if path not in here}
    names = _free_names(scenes, own, RESERVED | elsewhere) | kept
    held = {name.casefold() for name in kept.values()}
    clashing = [scene for scene in scenes if scene not in kept and names[scene].casefold() in held]
    taken = RESERVED | elsewhere | {name.casefold() for name in names.values()}
    return names | _numbered({scene: own[scene] for scene in clashing}, taken)


def _free_names(
    scenes: Sequence[Path], own: Mapping[Path, str], taken: AbstractSet[str]
) -> dict[Path, str]:
    """Name every scene differently and unlike what is taken, by the plainest name that is free."""
    names: dict[Path, str] = {}
    waiting = list(scenes)
    for attempt in (_names(own), _paths_below_parent, _paths_with_endings):
        proposed = attempt(waiting)
        counts = Counter(name.casefold() for name in proposed.values())
        free = {
            scene: name
            for scene, name in proposed.items()
            if counts[name.casefold()] == 1 and name.casefold() not in taken
        }
        names |= free
        taken = taken | {name.casefold() for name in free.values()}
        waiting = [scene for scene in waiting if scene not in free]
    return names | _numbered({scene: own[scene] for scene in waiting}, taken)


def _stem(scene: Path) -> str:
    """Return a scene's stem, of which `..` (of `...tif`) would lead out of the run's folder."""
    return scene.stem if scene.stem.strip(".") else _folder_of(scene.stem, "scene")


def _folder_of(item_id: str, empty: str = "item") -> str:
    """Return an Item's id as the name of a folder."""
    return re.sub(r"[^\w.-]+", "_", item_id)[:100].strip("._-") or empty


def _same_query(first: Path, again: Path) -> None:
    """Raise ConfigError where two addresses differ in nothing but what is written nowhere."""
    if not isinstance(first, RemotePath) or not isinstance(again, RemotePath):
        return
    if first.query != again.query:
        raise ConfigError(
            f"{first} is named twice, with different queries (?...), by which scenes are not told "
            "apart: name it once"
        )


def _expand(name: str, start: Path, asset: str | None) -> list[Found]:
    """Return what a name leads to: scenes, or what a file of Items or of names leads to."""
    if is_address(name) or name.startswith("/vsi"):
        # Opening it says whether it is allowed.
        return [(remote_path(name) if is_address(name) else Path(name), None)]
    if not name.strip():
        raise ConfigError("a scene's name is empty: give files, folders, globs or a list (.txt)")
    path = start / name
    if path.suffix.lower() in ITEM_ENDINGS and path.is_file():
        return [*read_items(path, asset)]
    if path.suffix.lower() == ".txt" and path.is_file():
        return _in_list(path, asset)
    if path.is_dir():
        return [(scene, None) for scene in _in_folder(path)]
    if path.exists():
        return [(path, None)]
    if glob.has_magic(name):
        # pathlib's glob takes no absolute pattern.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        scenes = [match for match in matches if not match.lower().endswith(".txt")]
        found = [one for match in scenes for one in _expand(match, Path(), asset)]
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


def _in_list(path: Path, asset: str | None) -> list[Found]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"cannot read the list of scenes {path}: it must be a text file") from err
    names = [line.split("#", 1)[0].strip() for line in lines]
    if any(name.lower().endswith(".txt") for name in names):
        raise ConfigError(f"the list {path} names another list (.txt): write scenes into it")
    found = [one for name in names if name for one in _expand(name, path.parent, asset)]
    if not found:
        raise ConfigError(f"the list {path} names no scene: write one path a line")
    return found


def _names(own: Mapping[Path, str]) -> Callable[[Sequence[Path]], dict[Path, str]]:
    return lambda scenes: {scene: own[scene] for scene in scenes}


def _paths_below_parent(scenes: Sequence[Path]) -> dict[Path, str]:
    groups = defaultdict(list)
    for scene in scenes:
        groups[scene.stem.casefold()].append(scene)
    return {scene: _below(scene, group) for group in groups.values() for scene in group}


def _below(scene: Path, group: Sequence[Path]) -> str:
    parent = os.path.commonpath([_located(path).parent for path in group])
    relative = _located(scene).relative_to(parent).with_suffix("")
    return "__".join((*relative.parts[:-1], _stem(scene)))


def _located(scene: Path) -> Path:
    """Return an absolute path, of an address one in which kind and host are folders."""
    if not isinstance(scene, RemotePath):
        return scene.resolve()
    address = scene.address
    return Path("/", address.scheme, address.host, address.path.lstrip("/"))


def _paths_with_endings(scenes: Sequence[Path]) -> dict[Path, str]:
    below = _paths_below_parent(scenes)
    return {scene: f"{name}_{scene.suffix[1:].lower()}" for scene, name in below.items()}


def _numbered(own: Mapping[Path, str], taken: Iterable[str]) -> dict[Path, str]:
    used, names = set(taken), {}
    for scene, name in own.items():
        number = 2
        while f"{name}-{number}".casefold() in used:
            number += 1
        names[scene] = f"{name}-{number}"
        used.add(names[scene].casefold())
    return names
