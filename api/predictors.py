"""The models that `/v1/predict` has loaded: each on first use, the longest unused one goes."""

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from damagenet.bundle import CARD_FILE
from damagenet.options import Runtime

if TYPE_CHECKING:
    from damagenet.inference import Predictor

MOST_LOADED = 4
"""Models in memory; one takes about twice its file."""

Version = tuple[Path, int]
"""A bundle's folder and when its card was written: a name may be given to a new bundle."""


class Predictors:
    """Loads bundles in a thread of its own and keeps those that were used last.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        runtime: What computes.
        most_loaded: Models that are kept.
    """

    def __init__(
        self, device: str, *, runtime: Runtime = "torch", most_loaded: int = MOST_LOADED
    ) -> None:
        self._device, self._runtime, self._most_loaded = device, runtime, most_loaded
        self._loaded: OrderedDict[Version, Future[Predictor]] = OrderedDict()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load-model")

    async def of(self, folder: Path) -> "Predictor":
        """Return the predictor of a bundle.

        Raises:
            BundleError: If the bundle is damaged.
            DeviceError: If the device is not there.
        """
        version = (folder, (folder / CARD_FILE).stat().st_mtime_ns)
        with self._lock:
            predictor = self._loaded.get(version)
            if predictor is None or (predictor.done() and predictor.exception()):
                predictor = self._thread.submit(_load, folder, self._device, self._runtime)
                self._loaded[version] = predictor
            self._loaded.move_to_end(version)
            while len(self._loaded) > self._most_loaded:
                self._loaded.popitem(last=False)
        # Shielded: others may wait for the same model when one of them gives up.
        return await asyncio.shield(asyncio.wrap_future(predictor))

    def close(self) -> None:
        """End the thread after the model it is loading."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _load(folder: Path, device: str, runtime: Runtime) -> "Predictor":
    # In the thread: to import torch takes seconds, in which the service answers others.
    from damagenet.bundle import load_bundle
    from damagenet.inference import Predictor

    return Predictor(load_bundle(folder, runtime=runtime), device=device, runtime=runtime)
