"""What an adaptation did, as `damagenet adapt --json` prints it."""

from pathlib import Path
from typing import Literal

from damagenet.config import Settings
from damagenet.evaluation.scores import Estimate, Scores


class Comparison(Settings):
    """The same buildings or tiles, scored with the model before and after."""

    before: Scores
    after: Scores
    gain: dict[str, Estimate]
    """After minus before, by metric; of false alarms, less is better."""
    note: str = ""


class LabelCounts(Settings):
    """Where the labels went."""

    read: int
    """Labels with a class in the file."""
    used: int
    """Labels that the scenes show."""
    left_out: dict[str, int]
    """The others by reason, and fitted labels too near to those aside."""
    fitted: int
    fitted_damaged: int
    aside: int
    aside_damaged: int
    aside_random: int
    """Labels aside that were drawn at random."""
    aside_blocks: int
    block_m: float
    """Side of a spatial block in metres."""


class AdaptReport(Settings):
    """What an adaptation did."""

    bundle: Path
    model: str
    """The new bundle, as name@hash."""
    base: str
    """What it was adapted from, likewise."""
    scenes: tuple[str, ...]
    labels: LabelCounts
    learned: Literal["head", "stages"]
    stages: int
    """How many of the last stages learned; 0 for the head alone."""
    why: str
    """Why these."""
    aside: Comparison
    """The labels kept aside."""
    base_task: Comparison | None
    """Tiles of the base's data set that neither bundle was trained on and that did not choose the
    base's threshold; None if not measured."""
    base_task_note: str
    """How the tiles were chosen, or why they were not scored and how to score them."""
    threshold: float
    uncertain_band: tuple[float, float]
    seconds: float
    command: str
