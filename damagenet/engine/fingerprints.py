"""Hashes by which a run knows whether what it was given is what it was given before."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from damagenet.addresses import RemotePath
from damagenet.errors import DamageNetError, SceneError
from data_prep.opening import gdal_session, open_remote
from data_prep.remote import index_sha256, look_up

SIDECARS = (
    ".aux.xml",
    ".msk",
    ".ovr",
)
"""Endings that GDAL adds to a raster's whole name for what belongs to it."""

COMPANIONS: dict[str, tuple[str, ...]] = {
    ".shp": (".cpg", ".dbf", ".prj", ".shx"),
    ".jpeg": (".jgw", ".jpegw", ".prj", ".wld"),
    ".jpg": (".jgw", ".jpgw", ".prj", ".wld"),
    ".png": (".pgw", ".pngw", ".prj", ".wld"),
    ".tif": (".prj", ".tfw", ".tifw", ".wld"),
    ".tiff": (".prj", ".tfw", ".tiffw", ".wld"),
}
"""Files of the same stem that belong to a file, by its ending; in small or capital letters."""


def file_sha256(path: Path, *, error: type[DamageNetError] = SceneError) -> str:
    """Return the SHA-256 of a file with its companions, or of all files of a folder.

    A file that stands alone has its ordinary SHA-256, as `sha256sum` prints it; with companions
    (a shapefile's `.dbf`, a raster's external mask) their names and hashes are hashed together.

    Raises:
        DamageNetError: Of the class given as `error`, if a file cannot be read.
    """
    files = _belonging(path)
    try:
        hashes = {_relative(file, path): _digest(file) for file in files}
    except OSError as err:
        raise error(f"cannot read {err.filename or path}: {err.strerror}") from err
    if files == [path]:
        return hashes[path.name]
    return values_sha256(hashes)


def scene_sha256(path: Path) -> str:
    """Return the SHA-256 of a scene, or of what is known of one that was opened at its address.

    Of a web server's file these are address, length and tag (else the time it was changed); where
    there is neither, and of a bucket's file, its index and three of its blocks. Of GDAL's virtual
    paths only the text counts.

    Raises:
        SceneError: If the file cannot be read.
    """
    if isinstance(path, RemotePath):
        return _remote_sha256(path)
    return file_sha256(path) if path.exists() else values_sha256({"address": str(path)})


def _remote_sha256(path: RemotePath) -> str:
    known: dict[str, object] = {"address": str(path)}
    found = look_up(path)
    if found is not None:
        known["length"] = found.length
    if found is not None and found.version:
        return values_sha256(known | {"version": found.version})
    with open_remote(path) as dataset, gdal_session(path):
        return values_sha256(known | {"index": index_sha256(dataset)})


def values_sha256(values: Mapping[str, object]) -> str:
    """Return the SHA-256 of plain values, the same whatever their order."""
    text = json.dumps(dict(values), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _belonging(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    named = [path.with_name(path.name + ending) for ending in SIDECARS]
    endings = COMPANIONS.get(path.suffix.lower(), ())
    stemmed = [path.with_suffix(one) for low in endings for one in (low, low.upper())]
    return [path, *(file for file in (*named, *stemmed) if file.is_file())]


def _relative(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
