"""The published data set as it comes: a folder or a tar of JPEG files, read without unpacking."""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from damagenet.errors import DataError
from data_prep.tile import CLASS_FOLDERS, PUBLISHED_SPLITS

MAX_TILE_BYTES = 1_000_000
"""A 128 px JPEG has about 3 kB; nothing much larger is read into memory."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of the published data set.

    Args:
        path: Where it lies below the source, with forward slashes.
        size: Bytes.
        content: Its bytes when it came out of a tar, else None and it is read from `file`.
        file: The file on disk, for a folder.
    """

    path: str
    size: int
    content: bytes | None = None
    file: Path | None = None

    @cached_property
    def place(self) -> tuple[str, str, str] | None:
        """Split, class folder and file name, or None for a file that lies elsewhere."""
        parts = PurePosixPath(self.path).parts[-3:]
        if len(parts) < 3 or parts[0] not in PUBLISHED_SPLITS or parts[1] not in CLASS_FOLDERS:
            return None
        return parts[0], parts[1], parts[2]

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            DataError: If the file cannot be read, or is far too large for a tile.
        """
        if self.size > MAX_TILE_BYTES:
            raise DataError(f"{self.size} bytes is far too large for a tile")
        if self.content is not None:
            return self.content
        if self.file is None:
            raise DataError("neither bytes nor a file")
        try:
            return self.file.read_bytes()
        except OSError as err:
            raise DataError(f"cannot be read: {err.strerror}") from err


@dataclass(frozen=True, kw_only=True)
class Source:
    """All files of a published data set, in one order whatever they came in."""

    path: Path
    files: tuple[SourceFile, ...]
    fingerprint: str


def read_source(path: Path) -> Source:
    """List the files of a published data set.

    Args:
        path: The folder that holds `train_another` and the others, or a tar of it.

    Raises:
        DataError: If there is no such folder or tar, or one of the eight class folders is
            missing or empty.
    """
    if path.is_dir():
        files, fingerprint = list(_folder_files(path)), _folder_fingerprint(path)
    elif path.is_file():
        files, fingerprint = _read_tar(path), _hash_file(path)
    else:
        raise DataError(f"{path} does not exist: give the folder of the Harvey tiles or its tar")
    files.sort(key=_published_order)
    _require_class_folders(path, files)
    return Source(path=path, files=tuple(files), fingerprint=fingerprint)


def _published_order(file: SourceFile) -> tuple[int, str, str]:
    if file.place is None:
        return len(PUBLISHED_SPLITS), "", file.path
    split, folder, name = file.place
    return PUBLISHED_SPLITS.index(split), folder, name


def _folder_files(root: Path) -> Iterator[SourceFile]:
    for file in sorted(root.rglob("*")):
        if file.is_file():
            name = file.relative_to(root).as_posix()
            yield SourceFile(path=name, size=file.stat().st_size, file=file)


def _folder_fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        if file.is_file():
            status = file.stat()
            name = file.relative_to(root).as_posix()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read_tar(path: Path) -> list[SourceFile]:
    try:
        # One pass from front to back, so that a compressed tar is not wound back for each tile.
        with tarfile.open(path, "r|*") as archive:
            return [_tar_file(archive, member) for member in archive if member.isfile()]
    except (tarfile.TarError, EOFError, OSError) as err:
        raise DataError(f"{path} is not a readable tar file: {err}") from err


def _tar_file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> SourceFile:
    stream = archive.extractfile(member) if member.size <= MAX_TILE_BYTES else None
    content = stream.read() if stream else None
    return SourceFile(path=member.name, size=member.size, content=content)


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require_class_folders(path: Path, files: list[SourceFile]) -> None:
    found = {file.place[:2] for file in files if file.place}
    wanted = [(split, folder) for split in PUBLISHED_SPLITS for folder in CLASS_FOLDERS]
    absent = [f"{split}/{folder}" for split, folder in wanted if (split, folder) not in found]
    if absent:
        raise DataError(
            f"{path} has no tiles in {', '.join(absent)}: it must hold the folders "
            f"{', '.join(PUBLISHED_SPLITS)}, each with damage and no_damage"
        )
