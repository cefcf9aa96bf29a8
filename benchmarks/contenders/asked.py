"""A contender's process, asked from outside."""

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from contenders.environments import Contender, without_ours

HERE = Path(__file__).parent


class ContenderFailedError(Exception):
    """A contender ended before its answer; says what it said last."""


class Asked:
    """A context manager around the process; what it complains of goes into a file.

    Args:
        contender: Whose script.
        python: The interpreter of its environment.
        options: Its command line, besides the number of workers.
        workers: Of its DataLoader.

    Attributes:
        facts: Versions and threads, as it says them when its network is loaded.
    """

    def __init__(
        self, contender: Contender, python: Path, options: dict[str, object], *, workers: int
    ) -> None:
        words = [f"--{name}={value}" for name, value in options.items()]
        self._command = [str(python), str(HERE / contender.script), *words, f"--workers={workers}"]
        self._workers = workers if len(contender.workers) > 1 else None
        self.facts: dict[str, object] = {}

    def __enter__(self) -> Self:
        self._complaints = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env=without_ours(),
        )
        self.facts = self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
        self._complaints.close()

    @property
    def name(self) -> str:
        """Its name, version and workers, as in `torchgeo 0.8.1, 2 workers`."""
        pipeline = str(self.facts["pipeline"])
        return pipeline if self._workers is None else f"{pipeline}, {self._workers} workers"

    def run(self, chips: int) -> tuple[float, float]:
        """Return seconds and processor seconds of one run over the scene's chips."""
        done = self._ask("run")
        if done["chips"] != chips:
            raise ContenderFailedError(f"it judged {done['chips']} of {chips} chips")
        return done["seconds"], done["processor_s"]

    def logits(self, across: int, chip: int) -> np.ndarray:
        """Return its logit of every chip in the order of the grid, NaN where it judged none."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "logits.npz"
            self._ask(f"check {path}")
            found = np.load(path)
        logits = np.full((across, across), np.nan)
        logits[found["rows"] // chip, found["columns"] // chip] = found["logits"]
        return logits.reshape(-1)

    def _ask(self, order: str) -> dict[str, float]:
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        """Return the next line that it says; what libraries print beside it is passed over."""
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().strip().splitlines()
        raise ContenderFailedError(lines[-1] if lines else "it ended without a word")
