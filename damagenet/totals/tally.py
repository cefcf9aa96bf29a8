"""Counts by area and verdict: all that the intervals need to know of units and labels."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.errors import EvaluationError
from damagenet.labels import Label
from damagenet.totals.labels import Labels

VERDICTS = (Label.DAMAGED, Label.UNDAMAGED, Label.UNCERTAIN, Label.NOT_JUDGED)
"""The strata, in the order of the last axis of every count."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What lies in A places; int64 (A, 4) by verdict, or (A,).

    Attributes:
        units: All units.
        random: Units with a label that was drawn at random.
        random_damaged: Those of them that are damaged.
        other_damaged: Units with another label that says damaged (A,).
        other_undamaged: Units with another label that says undamaged (A,).
        flags: Judged units at or above the card's threshold (A,).
    """

    units: Counts
    random: Counts
    random_damaged: Counts
    other_damaged: Counts
    other_undamaged: Counts
    flags: Counts

    @classmethod
    def of(
        cls,
        units: pd.DataFrame,
        labels: Labels,
        place: npt.NDArray[np.intp],
        *,
        count: int,
        threshold: npt.NDArray[np.float64] | float,
    ) -> "Tally":
        """Count units by place and verdict.

        Args:
            units: One row per unit with label and p_damaged.
            labels: What is known of each unit.
            place: Number of each unit's place, 0 to count - 1.
            count: Number of places A.
            threshold: Probability from which a unit is flagged, one for all or one for each.

        Raises:
            EvaluationError: If a verdict is no word of ours.
        """
        verdict = pd.Categorical(units["label"], categories=[str(one) for one in VERDICTS]).codes
        if (verdict < 0).any():
            strange = units["label"][verdict < 0].iloc[0]
            raise EvaluationError(f"{strange!r} is no verdict of damagenet: assess the scene again")
        cell = place * len(VERDICTS) + verdict
        other = labels.known & ~labels.random
        flags = (units["p_damaged"] >= threshold).to_numpy()

        def by_verdict(where: npt.NDArray[np.bool_]) -> Counts:
            counts = np.bincount(cell[where], minlength=count * len(VERDICTS))
            return counts.reshape(count, len(VERDICTS)).astype(np.int64)

        return cls(
            units=by_verdict(np.ones(len(units), dtype=bool)),
            random=by_verdict(labels.random),
            random_damaged=by_verdict(labels.random & labels.damaged),
            other_damaged=by_verdict(other & labels.damaged).sum(axis=1),
            other_undamaged=by_verdict(other & ~labels.damaged).sum(axis=1),
            flags=by_verdict(flags).sum(axis=1),
        )

    @property
    def whole(self) -> "Tally":
        """All places together, as one."""
        return Tally(**{name: getattr(self, name).sum(axis=0)[None] for name in self.__slots__})

    @property
    def without_verdicts(self) -> "Tally":
        """The same, but that all judged units are counted as of one verdict."""
        judged, counts = np.array([True, True, True, False]), {}
        for name in ("units", "random", "random_damaged"):
            split = getattr(self, name)
            counts[name] = np.where(judged, 0, split)
            counts[name][:, 0] = split[:, judged].sum(axis=1)
        return replace(self, **counts)

    @property
    def known_damaged(self) -> Counts:
        """Units that are damaged by any label (A,)."""
        return np.asarray(self.random_damaged.sum(axis=1) + self.other_damaged)

    @property
    def not_known_undamaged(self) -> Counts:
        """Units that no label calls undamaged (A,)."""
        undamaged = (self.random - self.random_damaged).sum(axis=1) + self.other_undamaged
        return np.asarray(self.units.sum(axis=1) - undamaged)
