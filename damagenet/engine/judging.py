"""From what the chips of a unit show to its record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.bundle import model_id
from damagenet.card import Card
from damagenet.labels import Label, Reason
from damagenet.options import AssessOptions
from damagenet.records import DamageRecord
from data_prep.scene import Scene
from data_prep.windows import Unit

PROBABILITY_DIGITS = 6
"""Far below what the network resolves; keeps text files short and equal on every machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipLooks:
    """What was seen in some chips, in their order.

    Attributes:
        imagery: Share of each chip with pixels of the scene, 0..1, shape (N,).
        usable: The same without excluded ground, shape (N,).
        probability: Calibrated probability of damage, NaN where the chip was not judged, (N,).
    """

    imagery: NDArray[np.float64]
    usable: NDArray[np.float64]
    probability: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> "ChipLooks":
        """Return what was seen in no chip."""
        return cls(imagery=np.empty(0), usable=np.empty(0), probability=np.empty(0))

    @classmethod
    def joined(cls, looks: Sequence["ChipLooks"]) -> "ChipLooks":
        """Return what was seen in the chips of all these, one after the other."""
        return cls(
            imagery=np.concatenate([look.imagery for look in looks]),
            usable=np.concatenate([look.usable for look in looks]),
            probability=np.concatenate([look.probability for look in looks]),
        )

    def __getitem__(self, chips: slice) -> "ChipLooks":
        return ChipLooks(
            imagery=self.imagery[chips],
            usable=self.usable[chips],
            probability=self.probability[chips],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The rules of one scene's verdicts.

    Attributes:
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
    def of(cls, scene: Scene, card: Card, options: AssessOptions, *, acquired: str) -> "Judge":
        """Return the rules for a scene; `--threshold` outside the card's band empties the band."""
        threshold = card.threshold if options.threshold is None else options.threshold
        low, high = card.uncertain_band
        return cls(
            threshold=threshold,
            # The band says where the card's own threshold is in doubt, and no other threshold.
            uncertain_band=(low, high) if low <= threshold <= high else (threshold, threshold),
            min_valid=options.min_valid,
            scene=scene.path.name,
            width=scene.width,
            height=scene.height,
            pixel_m=scene.pixel_m,
            coarse=scene.coarse,
            acquired=acquired,
            model=model_id(card),
        )

    def enough(self, usable: float) -> bool:
        """Return whether this share of usable pixels allows a verdict."""
        return usable > 0 and usable >= self.min_valid

    def record(self, unit: Unit, looks: ChipLooks) -> DamageRecord:
        """Return the verdict on a unit from all its chips.

        `p_damaged` is the largest probability over the judged chips, `p_min` the smallest. Chips
        with too few usable pixels inside a large footprint are left out.
        """
        usable = _mean(looks.usable)
        judged = looks.probability[~np.isnan(looks.probability)]
        if not self.enough(usable) or not judged.size:
            return self._record(unit, Label.NOT_JUDGED, self._hindrance(unit, looks), usable, ())
        label = self._label(round(float(judged.max()), PROBABILITY_DIGITS))
        reason = Reason.FORCED_COARSE if self.coarse else Reason.NONE
        return self._record(unit, label, reason, usable, judged)

    def _label(self, probability: float) -> Label:
        low, high = self.uncertain_band
        if low < probability < high:
            return Label.UNCERTAIN
        return Label.DAMAGED if probability >= self.threshold else Label.UNDAMAGED

    def _hindrance(self, unit: Unit, looks: ChipLooks) -> Reason:
        if not any(_meets(window, self.width, self.height) for window in unit.windows):
            return Reason.OUTSIDE
        return Reason.OBSCURED if self.enough(_mean(looks.imagery)) else Reason.NO_IMAGERY

    def _record(
        self,
        unit: Unit,
        label: Label,
        reason: Reason,
        usable: float,
        judged: Sequence[float] | NDArray[np.float64],
    ) -> DamageRecord:
        return DamageRecord(
            unit_id=unit.unit_id,
            kind=unit.kind,
            label=label,
            reason=reason,
            p_damaged=round(float(max(judged)), PROBABILITY_DIGITS) if len(judged) else None,
            p_min=round(float(min(judged)), PROBABILITY_DIGITS) if len(judged) else None,
            chips=len(judged),
            lon=_degrees(unit.lon),
            lat=_degrees(unit.lat),
            valid_fraction=round(usable, 4),
            ground_m=round(_longer_side(unit.windows, self.pixel_m), 2),
            scene=self.scene,
            acquired=self.acquired,
            model=self.model,
        )


def _meets(window: Window, width: int, height: int) -> bool:
    right, bottom = window.col_off + window.width, window.row_off + window.height
    inside = window.col_off < width and window.row_off < height
    return bool(inside and right > 0 and bottom > 0)


def _mean(shares: NDArray[np.float64]) -> float:
    """Return the mean; 0 for a unit without a chip."""
    return float(shares.mean()) if shares.size else 0.0


def _longer_side(windows: Sequence[Window], pixel_m: tuple[float, float]) -> float:
    """Return the longer side in metres of the rectangle around all windows; 0 without one."""
    if not windows:
        return 0.0
    columns = [edge for w in windows for edge in (w.col_off, w.col_off + w.width)]
    rows = [edge for w in windows for edge in (w.row_off, w.row_off + w.height)]
    return float(
        max((max(columns) - min(columns)) * pixel_m[0], (max(rows) - min(rows)) * pixel_m[1])
    )


def _degrees(value: float | None) -> float | None:
    """Round to about a centimetre; None where the scene has no place on Earth."""
    return None if value is None or np.isnan(value) else round(float(value), 7)
