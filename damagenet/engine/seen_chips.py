"""Chips with what of their ground counts: neither hidden by clouds nor excluded."""

from collections.abc import Sequence
from dataclasses import dataclass

from numpy import bool_
from numpy.typing import NDArray
from rasterio.windows import Window

from data_prep.chips import Chips
from data_prep.clouds import seen_ground
from data_prep.exclusion import Exclusion
from data_prep.pairing import Pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What chips are cut from, and what hides their ground.

    Attributes:
        pictures: The open scene, with the picture before it for models that compare.
        exclusion: Ground that is hidden. The network sees it like any other; its pixels only
            count as not usable.
        check_clouds: True where ground behind cloud, thick haze or too much light counts likewise.
    """

    pictures: Pictures
    exclusion: Exclusion | None
    check_clouds: bool

    def read(self, windows: Sequence[Window], *, size_px: int) -> tuple[Chips, NDArray[bool_]]:
        """Return the chips of N windows, and where they are usable, bool (N, S, S).

        Where nothing is hidden that is the chips' own `valid`.
        """
        chips = self.pictures.read_chips(windows, size_px=size_px)
        return chips, self.usable(chips, windows)

    def usable(self, chips: Chips, windows: Sequence[Window]) -> NDArray[bool_]:
        """Return where the chips of N windows are usable, bool (N, S, S)."""
        usable = chips.valid
        if self.check_clouds:
            for image in chips.images:
                usable = seen_ground(image, usable)
        if self.exclusion is not None:
            size_px = usable.shape[-1]
            usable = usable & ~self.exclusion.covers(self.pictures.scene, windows, size_px)
        return usable
