"""What a study has found: per split and variant, the scores and what they say."""

from damagenet.config import Settings
from damagenet.study.statistics import Difference, Mean

SCORES = ("accuracy", "balanced_accuracy", "auroc")
"""Shown for every variant; the split's own one is compared."""


def main_score(split: str) -> str:
    """Return the score by which variants are compared on a split.

    The published split has its accuracy from the papers; elsewhere always saying "damaged" must
    not pay, so that it is the balanced accuracy.
    """
    return "accuracy" if split == "published" else "balanced_accuracy"


class Outcome(Settings):
    """One variant on one split."""

    variant: str
    settings: str
    """What it has otherwise than the study's recipe."""
    against: str | None
    """What it is compared with; None for the baseline."""
    lr: float | None
    """The chosen learning rate; None while it is not chosen, or where all its runs failed."""
    done: int
    """Runs with scores."""
    failed: int
    missing: int
    """Runs that are still to do."""
    scores: dict[str, Mean]
    """By name; empty without a run."""
    seeds: dict[int, float]
    """The compared score by seed."""
    difference: Difference | None
    """To what it is compared with; None for the baseline, and with fewer than two seeds in
    common."""
    verdict: str
    """baseline, better, worse, no difference shown, or why there is no word yet."""


class Cost(Settings):
    """What a variant costs, over its runs on all splits."""

    variant: str
    settings: str
    lr: float | None
    seconds_per_epoch: float | None
    """In the middle over the runs, training and validation."""
    budget: float | None
    """Tiles times epochs over the baseline's; 1 where it has the same budget, None where only
    runs can tell."""
    relative_time: float | None
    """Time per epoch over that of what it is compared with, in the middle over pairs of runs on
    the same split, seed, machine and number of threads."""
    peak_mb: float | None
    """Highest memory of a run's process, in the middle."""
    saved_mb: float | None
    """What autograd keeps for one batch."""
    parameters: int | None


class Tuning(Settings):
    """How the learning rate of a variant was chosen."""

    variant: str
    validation: dict[float, float | None]
    """Validation score by learning rate, empty where there was one rate only; None for a failed
    run, absent for one to do."""
    lr: float | None
    fixed: bool
    """Whether there was one rate only, so that none was chosen."""
    at_edge: bool
    """Whether the chosen one is the lowest or highest of several: a better one may lie beyond."""


class SplitSummary(Settings):
    """All variants on one split, the best mean first."""

    split: str
    score: str
    """The score that is compared."""
    outcomes: tuple[Outcome, ...]
    family: int
    """Comparisons that are held at 5 % together."""
    seeds: int
    """Seeds behind the comparison that has the fewest."""
    countable: float | None
    """The smallest difference that would have counted, at the middle spread between seeds."""
    findable: float | None
    """The true difference that would have been found with a chance of 80 %, likewise."""

    @property
    def bases(self) -> list[str]:
        """What variants are compared with: in most studies the baseline alone."""
        return list(dict.fromkeys(one.against for one in self.outcomes if one.against))


class StudySummary(Settings):
    """What a study has found so far."""

    name: str
    baseline: str
    architectures: tuple[str, ...]
    seeds: int
    epochs: int
    """Of the baseline."""
    tiles: tuple[int, ...]
    """Training tiles of a run with the budget of the baseline; several numbers where splits
    differ, none without a run."""
    steps: tuple[int, ...]
    total: int
    """Runs of the whole study."""
    done: int
    """Runs with a row, failed ones too."""
    failed: int
    strangers: int
    """Rows in the file that belong to other settings; they are not used."""
    select_on: str
    lr_seed: int
    lr_split: str
    tuning: tuple[Tuning, ...]
    splits: tuple[SplitSummary, ...]
    costs: tuple[Cost, ...]
    hardware: dict[str, int]
    """Runs by machine and number of threads."""
    versions: dict[str, int]
    """Runs by version of damagenet and torch."""

    @property
    def bases(self) -> list[str]:
        """What variants are compared with beside the baseline."""
        every = {base for split in self.splits for base in split.bases}
        return sorted(every - {self.baseline})

    @property
    def other_budgets(self) -> dict[str, float]:
        """Variants whose budget is not the baseline's, and how many times that it is."""
        return {
            cost.variant: cost.budget
            for cost in self.costs
            if cost.budget is not None and cost.budget != 1
        }
