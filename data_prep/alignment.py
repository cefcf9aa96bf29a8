"""How many metres a picture lies off a scene, from patches all over what both show."""

from math import ceil, hypot

from rasterio.windows import Window

from damagenet.assessment import Shift
from data_prep.overlap import Overlap
from data_prep.pairing import Pictures
from data_prep.registration import PixelShift, find_shift
from data_prep.scene import Scene

LARGEST_SHIFT_M = 10.0
"""A picture that lies further off is refused: no georeference of such pictures errs so much."""
NEGLIGIBLE_M = 0.25
"""About half a training pixel; a smaller shift stays, as to correct it costs sharpness."""
PATCH_PX = 448
"""Side of the patches whose blocks are matched, at most."""
SMALLEST_PATCH_PX = 48
PIXEL_M = 0.9
"""Their ground sampling: shifts up to 58 m are seen. Finer pixels matched worse on real pairs."""
LATTICE = 3
"""Patches each way at most, so that a large scene takes no longer."""


def estimate_shift(scene: Scene, pre: Scene, overlap: Overlap) -> Shift:
    """Return how far the earlier picture lies off the scene; where nothing tells, `found` is False.

    The same for the same two files, whatever is assessed.

    Args:
        scene: The open scene.
        pre: The earlier picture, of `open_pre` without a shift.
        overlap: What both reach over, of `find_overlap`.

    Raises:
        SceneError: If one of the files turns out to be damaged.
    """
    pixel_m = max(PIXEL_M, scene.sampling_m, pre.sampling_m)
    windows, side = _patches(overlap, scene.pixel_m, pixel_m)
    if side < SMALLEST_PATCH_PX:
        return Shift()
    chips = Pictures(scene=scene, pre=pre).read_chips(windows, size_px=side)
    first, second = chips.images
    return _in_metres(find_shift(first, second, chips.valid), pixel_m)


def _in_metres(found: PixelShift, pixel_m: float) -> Shift:
    if not found.found:
        return Shift(blocks=found.blocks, agreed=found.agreed)
    # Whole centimetres, so that what is written down is what was corrected.
    east_m, north_m = round(found.right * pixel_m, 2), round(-found.down * pixel_m, 2)
    return Shift(
        found=True,
        east_m=east_m,
        north_m=north_m,
        spread_m=round(found.spread * pixel_m, 2),
        blocks=found.blocks,
        agreed=found.agreed,
        corrected=NEGLIGIBLE_M <= hypot(east_m, north_m) <= LARGEST_SHIFT_M,
    )


def _patches(
    overlap: Overlap, scene_m: tuple[float, float], pixel_m: float
) -> tuple[list[Window], int]:
    """Return patches on a lattice over what both reach over, and their side in their own pixels."""
    left, top, right, bottom = overlap.box
    across, down = pixel_m / scene_m[0], pixel_m / scene_m[1]
    side = int(min(PATCH_PX, (right - left) / across, (bottom - top) / down))
    width, height = side * across, side * down
    windows = [
        Window(col, row, width, height)
        for row in _starts(top, bottom, height)
        for col in _starts(left, right, width)
    ]
    return windows, side


def _starts(first: float, last: float, length: float) -> list[float]:
    """Return where patches start, from edge to edge, without gaps where so many are enough."""
    room = max(0.0, last - first - length)
    steps = min(LATTICE - 1, ceil(room / length)) if length else 0
    return [first + room * number / max(steps, 1) for number in range(steps + 1)]
