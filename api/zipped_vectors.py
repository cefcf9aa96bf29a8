"""One vector set in a ZIP archive: taken out with suspicion, and kept without anything else."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from api.names import clean_name
from api.problems import ServiceError
from api.settings import ServiceSettings

MAX_ENTRIES = 100
MAX_DIRECTORY_BYTES = 2**20
"""Bytes of the list of entries, which is read at once; 100 entries take about 10,000."""
MAX_RATIO = 200
"""Bytes unpacked for each byte packed; real shapefiles reach about 20."""
SMALL_BYTES = 2**20
"""Unpacked bytes that are no harm from however few."""
CHUNK = 2**20
SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
"""What is kept of a shapefile; the first three it cannot do without."""
SINGLE = (".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".geoparquet", ".csv")
"""Files that are a vector set by themselves."""
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError),
    *(ValueError, LookupError),
)
"""What reading a broken or encrypted archive raises."""
ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst", ".kmz")


def rezip(path: Path, settings: ServiceSettings) -> Path:
    """Replace an archive by the vector set in it and return the new file, beside the old one.

    A shapefile becomes `NAME.shp.zip` with its parts alone, not compressed; any other set is the
    file itself. What was declared in the archive is not believed: bytes are counted as they come.

    Args:
        path: The archive; deleted.
        settings: Limits of the service.

    Raises:
        ServiceError: 413 for too many entries or bytes, 422 for anything but one vector set.
    """
    try:
        with _Cautious(FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            entries = _files(archive, path)
            found = _shapefile(entries, path) or _single(entries, path)
            budget = _Budget(path, settings.max_vector_bytes)
            target = _write(archive, found, path, budget)
    except UNREADABLE as err:
        raise ServiceError(
            422, f"{path.name} is no archive that can be unpacked: zip it again, not encrypted"
        ) from err
    if target != path:
        path.unlink()
    return target


class _Cautious(BufferedReader):
    """An archive of which no large piece is ever read at once.

    The record at an archive's end says how large the list of entries is, which is then read in
    one piece and turned into objects, before anybody can count them.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes; raise ServiceError 413 for more than a list of entries may have."""
        if size is not None and size > MAX_DIRECTORY_BYTES:
            name = Path(str(self.name)).name
            raise ServiceError(
                413,
                f"{name} lists its entries in {size:,} bytes, more than {MAX_DIRECTORY_BYTES:,}, "
                f"and may have {MAX_ENTRIES} entries: zip one set",
            )
        return super().read(size)


def _files(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """Return the files of an archive; refuse it for any that does not belong there."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ServiceError(
            413, f"{path.name} has {len(entries):,} entries, more than {MAX_ENTRIES}: zip one set"
        )
    for entry in entries:
        name = PurePosixPath(entry.filename.replace("\\", "/"))
        mode = entry.external_attr >> 16
        if name.is_absolute() or ".." in name.parts or ":" in entry.filename:
            raise ServiceError(
                422, f"{path.name} has an entry that leaves its folder: zip it again"
            )
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ServiceError(
                422, f"{path.name} holds a link or a device: zip the files themselves"
            )
        if name.suffix.lower() in ARCHIVES:
            raise ServiceError(422, f"{path.name} holds another archive: zip the files themselves")
    # macOS adds a folder of its own to the archives it makes.
    return [e for e in entries if not e.is_dir() and not e.filename.startswith("__MACOSX/")]


def _shapefile(entries: list[zipfile.ZipInfo], path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the parts of the one shapefile by suffix; empty where there is none."""
    shapes = [entry for entry in entries if _suffix(entry) == ".shp"]
    if not shapes:
        return {}
    if len(shapes) > 1 or any(_suffix(entry) in SINGLE for entry in entries):
        raise ServiceError(422, f"{path.name} holds several vector sets: zip one of them")
    stem = shapes[0].filename[:-4].lower()
    parts = {
        suffix: entry
        for entry in entries
        for suffix in (_suffix(entry),)
        if suffix in SHAPEFILE and entry.filename[: -len(suffix)].lower() == stem
    }
    missing = [suffix for suffix in SHAPEFILE[:3] if suffix not in parts]
    if missing:
        raise ServiceError(
            422, f"{path.name} lacks {', '.join(missing)} of its shapefile: zip all parts"
        )
    return parts


def _single(entries: list[zipfile.ZipInfo], path: Path) -> dict[str, zipfile.ZipInfo]:
    found = [entry for entry in entries if _suffix(entry) in SINGLE]
    if len(found) != 1:
        what = "several vector sets" if found else "no vector set"
        raise ServiceError(
            422,
            f"{path.name} holds {what}: zip one shapefile with .shp, .shx and .dbf, "
            "or send a GeoPackage",
        )
    return {_suffix(found[0]): found[0]}


def _suffix(entry: zipfile.ZipInfo) -> str:
    return PurePosixPath(entry.filename).suffix.lower()


class _Budget:
    """Counts what comes out of an archive, and stops it."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._name, self._most = path.name, most_bytes
        self._by_ratio = max(SMALL_BYTES, MAX_RATIO * path.stat().st_size)
        self._bytes = 0

    def spend(self, length: int) -> None:
        """Count bytes; raise ServiceError 413 beyond the limits."""
        self._bytes += length
        if self._bytes > self._most:
            raise ServiceError(
                413, f"{self._name} unpacks to more than {self._most:,} bytes (max_vector_bytes)"
            )
        if self._bytes > self._by_ratio:
            raise ServiceError(
                413, f"{self._name} unpacks to more than {MAX_RATIO} times its size: send it plain"
            )


def _write(
    archive: zipfile.ZipFile, found: dict[str, zipfile.ZipInfo], path: Path, budget: _Budget
) -> Path:
    """Write the parts of a set into one file beside the archive."""
    stem = path.name[: -len(".zip")].removesuffix(".shp")
    if ".shp" not in found:
        ((suffix, entry),) = found.items()
        target = path.with_name(clean_name(f"{stem}{suffix}"))
        with _new_file(target) as out:
            _copy(archive, entry, out, budget)
        return target
    partial = path.with_name(f".{path.name}.partial")
    with _new_file(partial) as out, zipfile.ZipFile(out, "w") as clean:
        for suffix, entry in found.items():
            with clean.open(f"{stem}{suffix}", "w", force_zip64=True) as part:
                _copy(archive, entry, part, budget)
    target = path.with_name(clean_name(f"{stem}.shp.zip"))
    return partial.replace(target)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file for writing, which is deleted if the block raises."""
    try:
        with path.open("xb") as out:
            yield out
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _copy(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, out: IO[bytes], budget: _Budget
) -> None:
    with archive.open(entry) as part:
        while chunk := part.read(CHUNK):
            budget.spend(len(chunk))
            out.write(chunk)
