"""What the log of a training says of its epochs: validation scores, and when they were taken."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # type: ignore[import-untyped]  # no types
from tensorboard.util.tensor_util import make_ndarray  # type: ignore[import-untyped]  # no types

from damagenet.errors import EvaluationError
from damagenet.training.trainer import LOGS


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLog:
    """The validation score after every epoch, in order, and the time of day it was logged."""

    scores: tuple[float, ...]
    times: tuple[float, ...]
    """Seconds since 1970."""

    @property
    def seconds_per_epoch(self) -> float | None:
        """Median time from one validation to the next; None for a single epoch."""
        between = [later - earlier for earlier, later in pairwise(self.times)]
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
    found: list[tuple[float, float]] = []
    for path in sorted((out / LOGS).glob("tensorboard/*/events.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag == f"validation/{score}":
                    found.append((event.wall_time, float(make_ndarray(value.tensor))))
    if not found:
        raise EvaluationError(f"{out / LOGS} holds no validation score {score!r}")
    times, scores = zip(*sorted(found), strict=True)
    return EpochLog(scores=scores, times=times)
