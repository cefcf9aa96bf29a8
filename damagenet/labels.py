"""The closed lists of words that records, files and reports are written in."""

from enum import StrEnum

CLASSES = ("undamaged", "damaged")
"""Class names by index: a network's positive class is 1, `damaged`."""


class Label(StrEnum):
    """The verdict on one unit."""

    DAMAGED = "damaged"
    UNDAMAGED = "undamaged"
    UNCERTAIN = "uncertain"
    NOT_JUDGED = "not-judged"


class Reason(StrEnum):
    """What stands against a verdict; `NONE` (blank) where nothing does."""

    NONE = ""
    OUTSIDE = "outside"
    NO_IMAGERY = "no-imagery"
    OBSCURED = "obscured"
    FORCED_COARSE = "forced-coarse"


class Kind(StrEnum):
    """What a unit is."""

    BUILDING = "building"
    CELL = "cell"
