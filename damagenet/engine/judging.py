"""From what the chips of units show to their records, column by column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from damagenet.assessment import DISTANCE_COLUMN
from damagenet.bundle import model_id
from damagenet.card import Calibration, Card
from damagenet.labels import Reason
from damagenet.options import AssessOptions
from damagenet.rules import Rules, verdicts
from data_prep.scene import Scene
from data_prep.windows import Unit

Columns = dict[str, Sequence[str] | NDArray[np.generic]]
"""Records of N units: N values by RECORD_FIELDS, NaN where there is no number; and what the
parts keep besides, as DISTANCE_COLUMN."""

PROBABILITY_DIGITS = 6
"""Far below what the network resolves; keeps text files short and equal on every machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLooks:
    """What was seen in some chips, in their order.

    Attributes:
        shown: Share of each chip with pixels of the scene, 0..1, shape (N,).
        imagery: The same with pixels of every picture that the model compares, shape (N,).
        usable: The same without excluded and without hidden ground, shape (N,).
        probability: Calibrated probability of damage, NaN where the chip was not judged, (N,).
        distance: Distance to the model's training tiles, NaN where it was not measured, (N,).
    """

    shown: NDArray[np.float64]
    imagery: NDArray[np.float64]
    usable: NDArray[np.float64]
    probability: NDArray[np.float64]
    distance: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> "ChipLooks":
        """Return what was seen in no chip."""
        none = np.empty(0)
        return cls(shown=none, imagery=none, usable=none, probability=none, distance=none)

    @classmethod
    def joined(cls, looks: Sequence["ChipLooks"]) -> "ChipLooks":
        """Return what was seen in the chips of all these, one after the other."""
        return cls(
            shown=np.concatenate([look.shown for look in looks]),
            imagery=np.concatenate([look.imagery for look in looks]),
            usable=np.concatenate([look.usable for look in looks]),
            probability=np.concatenate([look.probability for look in looks]),
            distance=np.concatenate([look.distance for look in looks]),
        )

    def only(self, chips: NDArray[np.bool_]) -> "ChipLooks":
        """Return what was seen in some of the chips, bool (N,)."""
        return ChipLooks(
            shown=self.shown[chips],
            imagery=self.imagery[chips],
            usable=self.usable[chips],
            probability=self.probability[chips],
            distance=self.distance[chips],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The rules of one scene's verdicts.

    Attributes:
        calibration: Makes probabilities of logits.
        threshold: Probability from which a unit is damaged.
        uncertain_band: Probabilities strictly inside are uncertain.
        min_valid: Share of a window that must be usable for a verdict.
        scene: File name of the scene.
        width: Columns of the scene's pixel grid.
        height: Rows of it.
        pixel_m: Ground sampling in metres: east-west, north-south.
        coarse: True where every verdict is marked forced-coarse.
        acquired: ISO 8601, or empty.
        model: Name and short hash of the bundle.
    """

    calibration: Calibration
    threshold: float
    uncertain_band: tuple[float, float]
    min_valid: float
    scene: str
    width: int
    height: int
    pixel_m: tuple[float, float]
    coarse: bool
    acquired: str
    model: str

    @classmethod
    def of(
        cls,
        scene: Scene,
        card: Card,
        options: AssessOptions,
        *,
        acquired: str,
        pre: Scene | None = None,
    ) -> "Judge":
        """Return the rules for a scene.

        Args:
            scene: The open scene.
            card: The model's.
            options: Of the assessment.
            acquired: When the scene was taken, ISO 8601 or empty.
            pre: The picture before it, where there is one.

        Raises:
            ConfigError: As `Rules.of`.
        """
        rules = Rules.of(card, options)
        return cls(
            calibration=rules.calibration,
            threshold=rules.threshold,
            uncertain_band=rules.uncertain_band,
            min_valid=options.min_valid,
            scene=scene.path.name,
            width=scene.width,
            height=scene.height,
            pixel_m=scene.pixel_m,
            coarse=scene.coarse or (pre is not None and pre.coarse),
            acquired=acquired,
            model=model_id(card),
        )

    def enough(self, usable: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return where a share of usable pixels allows a verdict."""
        return (usable > 0) & (usable >= self.min_valid)

    def records(self, units: Sequence[Unit], looks: ChipLooks) -> Columns:
        """Return the verdicts on units from all their chips.

        `p_damaged` is the largest probability over the judged chips, `p_min` the smallest. Chips
        with too few usable pixels inside a large footprint are left out.

        Args:
            units: Units, N of them.
            looks: All their chips, unit after unit.
        """
        owner = owners(units)
        seen = ~np.isnan(looks.probability)
        usable = _means(looks.usable, owner, len(units))
        chips = np.bincount(owner[seen], minlength=len(units))
        judged = self.enough(usable) & (chips > 0)
        highest, lowest = _extremes(looks.probability[seen], owner[seen], judged)
        edges = _edges(units)
        inside = _meet(edges, self.width, self.height)
        outside = np.bincount(owner[inside], minlength=len(units)) == 0
        imagery = self.enough(_means(looks.imagery, owner, len(units)))
        return {
            "unit_id": [unit.unit_id for unit in units],
            "kind": [unit.kind.value for unit in units],
            "label": verdicts(
                highest, threshold=self.threshold, uncertain_band=self.uncertain_band
            ),
            "reason": self._reasons(judged, outside, imagery),
            "p_damaged": highest,
            "p_min": lowest,
            "chips": np.where(judged, chips, 0),
            "lon": degrees([unit.lon for unit in units]),
            "lat": degrees([unit.lat for unit in units]),
            "valid_fraction": _rounded(usable, 4),
            "ground_m": _rounded(_longer_sides(edges, owner, len(units), self.pixel_m), 2),
            "scene": [self.scene] * len(units),
            "acquired": [self.acquired] * len(units),
            "model": [self.model] * len(units),
            DISTANCE_COLUMN: _mean_distances(looks.distance, owner, judged),
        }

    def _reasons(
        self, judged: NDArray[np.bool_], outside: NDArray[np.bool_], imagery: NDArray[np.bool_]
    ) -> NDArray[np.str_]:
        verdict = Reason.FORCED_COARSE if self.coarse else Reason.NONE
        return np.select(
            [judged, outside, imagery],
            [verdict.value, Reason.OUTSIDE.value, Reason.OBSCURED.value],
            Reason.NO_IMAGERY.value,
        )


def owners(units: Sequence[Unit]) -> NDArray[np.int64]:
    """Return, for every chip, the place of its unit among the units."""
    chips = np.array([len(unit.windows) for unit in units], dtype=np.int64)
    return np.repeat(np.arange(len(units)), chips)


def _edges(units: Sequence[Unit]) -> NDArray[np.float64]:
    """Return left, top, right, bottom of every window, shape (M, 4)."""
    windows = [
        (one.col_off, one.row_off, one.col_off + one.width, one.row_off + one.height)
        for unit in units
        for one in unit.windows
    ]
    return np.array(windows, dtype=np.float64).reshape(-1, 4)


def _meet(edges: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    left, top, right, bottom = edges.T
    return np.asarray((left < width) & (top < height) & (right > 0) & (bottom > 0))


def _longer_sides(
    edges: NDArray[np.float64], owner: NDArray[np.int64], units: int, pixel_m: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the longer side in metres of the rectangle around all windows; 0 without one."""
    first, last = np.full((units, 2), np.inf), np.full((units, 2), -np.inf)
    np.minimum.at(first, owner, edges[:, :2])
    np.maximum.at(last, owner, edges[:, 2:])
    return np.asarray(((last - first) * pixel_m).max(axis=1, initial=0.0))


def _means(
    shares: NDArray[np.float64], owner: NDArray[np.int64], units: int
) -> NDArray[np.float64]:
    """Return the mean over the chips of each unit; 0 for a unit without a chip."""
    chips = np.bincount(owner, minlength=units)
    sums = np.bincount(owner, weights=shares, minlength=units)
    return np.asarray(sums / np.maximum(chips, 1))


def _extremes(
    probability: NDArray[np.float64], owner: NDArray[np.int64], judged: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest and the smallest probability of each unit, NaN where it is not judged."""
    highest, lowest = np.full(len(judged), -np.inf), np.full(len(judged), np.inf)
    np.maximum.at(highest, owner, probability)
    np.minimum.at(lowest, owner, probability)
    highest[~judged] = lowest[~judged] = np.nan
    return _rounded(highest, PROBABILITY_DIGITS), _rounded(lowest, PROBABILITY_DIGITS)


def _mean_distances(
    distance: NDArray[np.float64], owner: NDArray[np.int64], judged: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean over the measured chips of each unit, NaN where it is not judged."""
    measured = ~np.isnan(distance)
    means = _means(distance[measured], owner[measured], len(judged))
    none = np.bincount(owner[measured], minlength=len(judged)) == 0
    return np.where(judged & ~none, means, np.nan)


def _rounded(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    # Decimal digits as they are written; numpy's own rounding may miss the nearest number.
    return np.array([round(value, digits) for value in values.tolist()], dtype=np.float64)


def degrees(values: Sequence[float | None] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to about a centimetre; NaN for what has no place on Earth."""
    numbers = np.array(values, dtype=np.float64)
    return _rounded(np.where(np.isfinite(numbers), numbers, np.nan), 7)
