"""From the published files to a prepared data set, in steps that an interruption cannot spoil."""

import fcntl
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import Progress

from damagenet.errors import DataError, OutputError
from data_prep.acquisitions import FILE_NAME, coordinate_key, read_acquisitions
from data_prep.harvey import (
    COLUMNS,
    MANIFEST,
    PIXELS,
    PREPARED,
    REJECTED,
    PrepareReport,
    read_report,
)
from data_prep.tile import (
    CLASS_FOLDERS,
    TILE_PX,
    decode_tile,
    parse_coordinate,
    region_of,
    world_pixel,
)
from data_prep.tile_source import Source, SourceFile, read_source

FILES_PER_STEP = 1000
"""Files checked between two points from which an interrupted run continues."""

_WORK = "unfinished"
_TILE_BYTES = TILE_PX * TILE_PX * 3


def prepare(
    src: Path, dest: Path, *, acquisitions: Path | None = None, quiet: bool = False
) -> PrepareReport:
    """Check every published file and lay the tiles out for training.

    A second run does nothing; an interrupted one continues where it stopped.

    Args:
        src: The folder that holds `train_another` and the others, or a tar of it.
        dest: Folder to make.
        acquisitions: Table of satellite passes; without one, `harvey_acquisitions.csv` beside
            `src` when it is there.
        quiet: Show no progress on stderr.

    Raises:
        DataError: If `src` is not the published data set, or `dest` was made from other files.
        OutputError: If `dest` cannot be written, or another run is preparing it.
    """
    source = read_source(src)
    table = acquisitions or _table_beside(src)
    fingerprint = _fingerprint(source, table)
    if (dest / PREPARED).exists():
        return _keep(dest, fingerprint)
    passes = read_acquisitions(table) if table else {}
    try:
        with _alone_in(dest):
            work = _Workplace.open(dest / _WORK, fingerprint)
            _check_files(source, work, quiet=quiet)
            return _finish(work, dest, passes, fingerprint)
    except BlockingIOError:
        raise OutputError(f"{dest} is being prepared by another run: wait for it to end") from None
    except OSError as err:
        raise OutputError(f"cannot write prepared data to {dest}: {err.strerror or err}") from err


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make a folder and lock it; a killed process gives the lock back with all it held."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _table_beside(src: Path) -> Path | None:
    table = src.absolute().parent / FILE_NAME
    return table if table.exists() else None


def _fingerprint(source: Source, table: Path | None) -> str:
    digest = hashlib.sha256(source.fingerprint.encode())
    try:
        digest.update(table.read_bytes() if table else b"")
    except OSError as err:
        raise DataError(f"cannot read the acquisitions {table}: {err.strerror}") from err
    return digest.hexdigest()


def _keep(dest: Path, fingerprint: str) -> PrepareReport:
    report = read_report(dest)
    if report.source != fingerprint:
        raise DataError(f"{dest} was prepared from other files: delete it or choose another folder")
    return report


@dataclass(frozen=True, kw_only=True)
class _Workplace:
    """The unfinished folder: pixels appended to one file, one table per finished step."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, fingerprint: str) -> "_Workplace":
        work, stamp = cls(folder=folder), folder / "source"
        same_source = stamp.exists() and stamp.read_text() == fingerprint
        if folder.exists() and not (same_source and work.is_whole()):
            shutil.rmtree(folder)  # begun from other files, or interrupted at the very end
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(fingerprint)
        return work

    @property
    def pixels(self) -> Path:
        return self.folder / PIXELS

    def steps(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.parquet"))

    def rows(self) -> pd.DataFrame:
        empty = pd.DataFrame(columns=["reason", *COLUMNS])
        tables = [pd.read_parquet(step) for step in self.steps()]
        return pd.concat(tables, ignore_index=True) if tables else empty

    def kept(self) -> int:
        return int((self.rows()["reason"] == "").sum())

    def is_whole(self) -> bool:
        """Whether the pixels of every finished step are there."""
        size = self.pixels.stat().st_size if self.pixels.exists() else 0
        return size >= self.kept() * _TILE_BYTES

    def write_step(self, number: int, rows: pd.DataFrame) -> None:
        """Record a finished step; the rename makes it count."""
        path = self.folder / f"step-{number:05}.parquet"
        rows.to_parquet(path.with_suffix(".part"), index=False)
        path.with_suffix(".part").rename(path)


def _check_files(source: Source, work: _Workplace, *, quiet: bool) -> None:
    done, kept = len(work.steps()), work.kept()
    starts = range(0, len(source.files), FILES_PER_STEP)
    console = Console(file=sys.stderr)
    with Progress(console=console, disable=quiet) as progress, _pixel_file(work, kept) as stream:
        task = progress.add_task("checking tiles", total=len(source.files))
        for number, start in enumerate(starts):
            files = source.files[start : start + FILES_PER_STEP]
            if number >= done:
                rows, pixels = _check_step(files)
                stream.write(pixels)
                stream.flush()
                work.write_step(number, rows)
            progress.advance(task, len(files))


@contextmanager
def _pixel_file(work: _Workplace, kept: int) -> Iterator[BinaryIO]:
    """Open the pixels for appending after the `kept` tiles that finished steps speak of."""
    header = _header(kept)
    work.pixels.touch()
    with work.pixels.open("r+b") as stream:
        stream.write(header)
        stream.truncate(len(header) + kept * _TILE_BYTES)
        stream.seek(0, os.SEEK_END)
        yield stream


def _header(tiles: int) -> bytes:
    """Return the head of a .npy file; numpy pads it, so its length is the same for any count."""
    head = io.BytesIO()
    array = {"descr": "|u1", "fortran_order": False, "shape": (tiles, TILE_PX, TILE_PX, 3)}
    np.lib.format.write_array_header_1_0(head, array)
    return head.getvalue()


def _check_step(files: Sequence[SourceFile]) -> tuple[pd.DataFrame, bytes]:
    rows, pixels = [], []
    for file in files:
        try:
            row, tile = _check_file(file)
            pixels.append(tile.tobytes())
        except DataError as err:
            row = {"path": file.path, "reason": str(err)}
        rows.append(row)
    return pd.DataFrame(rows, columns=["reason", *COLUMNS]), b"".join(pixels)


def _check_file(file: SourceFile) -> tuple[dict[str, object], npt.NDArray[np.uint8]]:
    if file.place is None:
        raise DataError("not in a class folder of a published split")
    split, folder, name = file.place
    lon, lat = parse_coordinate(name)
    data = file.read()
    tile = decode_tile(data)
    column, row_px = world_pixel(lon, lat)
    row = {
        "reason": "",
        "path": f"{split}/{folder}/{name}",
        "sha256": hashlib.sha256(data).hexdigest(),
        "label": CLASS_FOLDERS.index(folder),
        "lon": lon,
        "lat": lat,
        "column": int(column),
        "row_px": int(row_px),
        "region": region_of(lon, lat),
        "published_split": split,
        "bytes": len(data),
    }
    return row, tile


def _finish(
    work: _Workplace, dest: Path, passes: Mapping[tuple[float, float], str], fingerprint: str
) -> PrepareReport:
    rows = work.rows()
    bad = rows["reason"] != ""
    manifest = _manifest(rows[~bad], passes)
    with work.pixels.open("r+b") as stream:
        stream.write(_header(len(manifest)))
    work.pixels.rename(dest / PIXELS)
    manifest.to_parquet(dest / MANIFEST, index=False)
    rows.loc[bad, ["path", "reason"]].to_csv(dest / REJECTED, index=False)
    report = PrepareReport(
        source=fingerprint,
        tiles=len(manifest),
        rejected=int(bad.sum()),
        byte_copies=int((manifest["duplicate_of"] != "").sum()),
        with_acquisition=int((manifest["acquisition"] != "").sum()),
    )
    part = dest / f"{PREPARED}.part"
    part.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    part.rename(dest / PREPARED)
    shutil.rmtree(work.folder)
    return report


def _manifest(kept: pd.DataFrame, passes: Mapping[tuple[float, float], str]) -> pd.DataFrame:
    integers = dict.fromkeys(("column", "row_px", "bytes"), "int64") | {"label": "int8"}
    manifest = kept.reset_index(drop=True).astype(integers)
    keys = [
        coordinate_key(lon, lat) for lon, lat in zip(manifest["lon"], manifest["lat"], strict=True)
    ]
    manifest["acquisition"] = [passes.get(key, "") for key in keys]
    first = manifest.groupby("sha256")["path"].transform("first")
    manifest["duplicate_of"] = first.where(first != manifest["path"], "")
    return manifest[list(COLUMNS)]
