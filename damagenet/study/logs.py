"""What the log of a training says of its epochs: validation scores, and what they cost."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # type: ignore[import-untyped]  # no types
from tensorboard.util.tensor_util import make_ndarray  # type: ignore[import-untyped]  # no types

from damagenet.errors import EvaluationError
from damagenet.training.lightning_module import PROCESSOR_S
from damagenet.training.trainer import LOGS


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLog:
    """After every epoch, in order: the validation score, and the clocks at that moment."""

    scores: tuple[float, ...]
    times: tuple[float, ...]
    """Time of day, seconds since 1970."""
    processor_s: tuple[float, ...]
    """Processor time of the training process, seconds."""

    def seconds_per_epoch(self, *, of_processor: bool) -> float | None:
        """Return the median time from one validation to the next; None for a single epoch.

        Args:
            of_processor: Whether processor time counts, which other programs on the machine
                hardly change, or the time of day.
        """
        clock = self.processor_s if of_processor else self.times
        between = [later - earlier for earlier, later in pairwise(clock)]
        return median(between) if between else None

    def best(self, *, lowest: bool) -> tuple[int, float]:
        """Return the number of the best epoch, from 1, and its score; the first of equal ones.

        Raises:
            EvaluationError: If no epoch has a finite score.
        """
        sign = 1 if lowest else -1
        finite = [
            (sign * score, number)
            for number, score in enumerate(self.scores, start=1)
            if math.isfinite(score)
        ]
        if not finite:
            raise EvaluationError("no epoch has a finite validation score: the training diverged")
        score, number = min(finite)
        return number, sign * score


def read_log(out: Path, score: str) -> EpochLog:
    """Read the log that a training left in `out`.

    Args:
        out: Folder of the training.
        score: Name of the validation score, as in `training.select_on`.

    Raises:
        EvaluationError: If the log holds no such score.
    """
    found: dict[str, list[tuple[float, float]]] = {f"validation/{score}": [], PROCESSOR_S: []}
    for path in sorted((out / LOGS).glob("tensorboard/*/events.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag in found:
                    number = float(make_ndarray(value.tensor))
                    found[value.tag].append((event.wall_time, number))
    scored, clocked = (sorted(numbers) for numbers in found.values())
    if not scored:
        raise EvaluationError(f"{out / LOGS} holds no validation score {score!r}")
    times, scores = zip(*scored, strict=True)
    return EpochLog(scores=scores, times=times, processor_s=tuple(each for _, each in clocked))
