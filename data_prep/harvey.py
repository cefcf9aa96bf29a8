"""The Harvey tiles, checked once and laid out so that training reads them fast.

A prepared folder holds `manifest.parquet` (one row per tile), `pixels.npy` (the tiles in the same
order, memory-mapped), `rejected.csv` (files that are no tiles, with the reason) and
`prepared.json`, which is written last: a folder without it is not finished.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from damagenet.errors import DataError
from data_prep.tile import TILE_PX

MANIFEST = "manifest.parquet"
PIXELS = "pixels.npy"
REJECTED = "rejected.csv"
PREPARED = "prepared.json"

COLUMNS = (
    "path",
    "sha256",
    "label",
    "lon",
    "lat",
    "column",
    "row_px",
    "region",
    "acquisition",
    "published_split",
    "duplicate_of",
    "bytes",
)
"""Columns of the manifest.

`label` is 1 for damage; `column` and `row_px` are the upper left pixel on the world grid;
`duplicate_of` is the path of the first byte-identical tile or empty; `bytes` is the size of the
JPEG, for the audit only: it tells the classes apart and must never reach a model.
"""


class PrepareReport(BaseModel):
    """What `prepare` found.

    Args:
        source: Fingerprint of the files and of the table of acquisitions.
        tiles: Tiles kept.
        rejected: Files that are no tiles; each is in `rejected.csv` with its reason.
        byte_copies: Tiles that repeat an earlier one byte for byte.
        with_acquisition: Tiles whose satellite pass is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    tiles: int
    rejected: int
    byte_copies: int
    with_acquisition: int


@dataclass(frozen=True, kw_only=True, eq=False)
class HarveyTiles:
    """A prepared data set.

    Args:
        folder: Where it lies.
        manifest: One row per tile, with the columns `COLUMNS`.
        pixels: uint8 (N, 128, 128, 3), memory-mapped and read-only.
    """

    folder: Path
    manifest: pd.DataFrame
    pixels: npt.NDArray[np.uint8]

    @classmethod
    def open(cls, folder: Path) -> "HarveyTiles":
        """Open a folder made by `prepare`.

        Raises:
            DataError: If it is none, or is not complete.
        """
        read_report(folder)
        try:
            manifest = pd.read_parquet(folder / MANIFEST)
            pixels = np.load(folder / PIXELS, mmap_mode="r")
        except (OSError, ValueError, EOFError, pa.ArrowException) as err:
            raise DataError(f"{folder} is damaged, prepare it again: {err}") from err
        tiles = cls(folder=folder, manifest=manifest, pixels=pixels)
        tiles._check()
        return tiles

    def __len__(self) -> int:
        return len(self.manifest)

    def __reduce__(self) -> tuple[Callable[[Path], "HarveyTiles"], tuple[Path]]:
        """Let a worker process open the folder itself instead of being sent a gigabyte."""
        return HarveyTiles.open, (self.folder,)

    @property
    def labels(self) -> npt.NDArray[np.int8]:
        """Labels int8 (N,): 1 damaged, 0 undamaged."""
        return self.manifest["label"].to_numpy(np.int8)

    def _check(self) -> None:
        absent = [name for name in COLUMNS if name not in self.manifest.columns]
        if absent:
            raise DataError(f"{self.folder / MANIFEST} lacks {', '.join(absent)}: prepare it again")
        wanted = (len(self.manifest), TILE_PX, TILE_PX, 3)
        if self.pixels.shape != wanted or self.pixels.dtype != np.uint8:
            raise DataError(
                f"{self.folder / PIXELS} is {self.pixels.dtype} {self.pixels.shape}, the manifest "
                f"needs uint8 {wanted}: prepare it again"
            )


def read_report(folder: Path) -> PrepareReport:
    """Return what `prepare` reported for a finished folder.

    Raises:
        DataError: If the folder is not finished, or its report cannot be read.
    """
    path = folder / PREPARED
    if not path.exists():
        raise DataError(
            f"{folder} is no prepared data set: run `damagenet data prepare SRC {folder}`"
        )
    try:
        return PrepareReport.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, ValidationError) as err:
        raise DataError(f"{path} cannot be understood, prepare the data again: {err}") from err
