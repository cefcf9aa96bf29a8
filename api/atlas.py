"""What is kept in memory of the maps of finished jobs, and how many are drawn at a time."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from api.features import FeatureCache, Features
from api.folders import JobFolder
from api.map_index import INDEX_FILE, MapIndex, read_map_index

DRAWING_THREADS = min(8, 2 * (os.cpu_count() or 1))
"""Pictures drawn at a time; others wait their turn without holding a thread."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMap:
    """The map of one finished job.

    Attributes:
        folder: Its files.
        index: Its scenes.
        version: Differs for every making of the map's pictures.
    """

    folder: JobFolder
    index: MapIndex
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """The maps of one service's jobs."""

    kept: FeatureCache = field(default_factory=FeatureCache)
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(DRAWING_THREADS))

    def find(self, folder: JobFolder) -> ShownMap | None:
        """Return the map of a job; None where it is not made, or the job was deleted."""
        try:
            version = (folder.maps / INDEX_FILE).stat().st_mtime_ns
        except FileNotFoundError:
            return None
        index = _index(folder, version)
        return None if index is None else ShownMap(folder=folder, index=index, version=version)

    def features(self, shown: ShownMap) -> Features:
        """Return the units of a job; the first call reads them."""
        return self.kept.get(shown.folder, shown.index, shown.version)

    async def draw(self, picture: Callable[[], Result]) -> Result:
        """Return what a function that draws returns, called in a thread when it is its turn."""
        return await to_thread.run_sync(picture, limiter=self.threads)


@lru_cache(maxsize=256)
def _index(folder: JobFolder, version: int) -> MapIndex | None:
    # The version is part of the key only.
    return read_map_index(folder)
