"""The record: what damagenet says about one unit."""

from dataclasses import dataclass, fields

from damagenet.labels import Kind, Label, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageRecord:
    """The verdict on one building or grid cell.

    Attributes:
        unit_id: The caller's own id, or one made from the row or the cell's place.
        kind: Building or cell.
        label: The verdict.
        reason: What stands against the verdict; blank where nothing does.
        p_damaged: Calibrated probability of damage in 0..1, the largest over the unit's chips;
            None where nothing could be judged.
        p_min: The smallest over the unit's chips; equal to `p_damaged` where there is one chip.
        chips: Number of chips that were judged.
        lon: Longitude of the unit's centre in degrees (WGS 84); None in a scene without a CRS.
        lat: Latitude of the unit's centre in degrees (WGS 84); None in a scene without a CRS.
        valid_fraction: Share of the unit's window with usable pixels, 0..1.
        ground_m: Longer side in metres of the window that was judged. The verdict is on this
            window around the building, not on its walls.
        scene: File name of the scene.
        acquired: When the picture was taken (ISO 8601), or empty where nobody said.
        model: Name and short hash of the bundle.
    """

    unit_id: str
    kind: Kind
    label: Label
    reason: Reason
    p_damaged: float | None
    p_min: float | None
    chips: int
    lon: float | None
    lat: float | None
    valid_fraction: float
    ground_m: float
    scene: str
    acquired: str
    model: str


RECORD_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(DamageRecord))
"""Column names of every table of records, in order; the caller's own attributes follow them."""
