"""The pictures of the same ground that a chip is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affine import Affine
from rasterio.windows import Window

from damagenet.assessment import Shift
from data_prep.chips import Chips, RawChips
from data_prep.north_up import PixelGrid
from data_prep.scene import Scene, SceneOptions

WHOLE_PX = 1e-3
"""Windows this near whole pixels are whole: the rest is rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures that chips are made of: the scene, and the same ground before the storm.

    Attributes:
        scene: The open scene, in whose pixels windows are given.
        pre: The earlier picture, of `open_pre`; None for models that take one picture.
        shift: How far it lies off the scene, as given to `open_pre`.
    """

    scene: Scene
    pre: Scene | None = None
    shift: Shift | None = None

    def read_chips(self, windows: Sequence[Window], *, size_px: int) -> Chips:
        """Read windows as chips, one image per picture; otherwise as `Scene.read_chips`.

        All images of a chip show the same ground to a fraction of a pixel. What one of them lacks
        is zero in all, so that a hole never looks like a change.

        Args:
            windows: N rectangles in pixels of the scene.
            size_px: Side of a chip in pixels, S.

        Raises:
            SceneError: If one of the files turns out to be damaged there.
        """
        return self.read_raw(windows, size_px=size_px).cut()

    def read_raw(self, windows: Sequence[Window], *, size_px: int) -> "RawPictures":
        """Read the pixels that chips are cut out of in another thread; else as `read_chips`."""
        after = self.scene.read_raw(windows, size_px=size_px)
        if self.pre is None:
            return RawPictures(after=after)
        there = _other_windows(windows, self.scene, self.pre, crs_offset(self.shift, self.scene))
        return RawPictures(after=after, before=self.pre.read_raw(there, size_px=size_px))


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPictures:
    """The pixels of the same windows in one picture, or in both."""

    after: RawChips
    before: RawChips | None = None

    def cut(self) -> Chips:
        """Return the chips, one image per picture."""
        after = self.after.cut()
        if self.before is None:
            return after
        before = self.before.cut()
        images, valid = (*after.images, *before.images), after.valid & before.valid
        if not valid.all():
            images = tuple(image * valid[:, None] for image in images)
        return Chips(images=images, valid=valid, scene_valid=after.valid)


def open_pre(
    path: Path, scene: Scene, options: SceneOptions, *, shift: Shift | None = None
) -> Scene:
    """Open the picture of a scene's ground from before the storm.

    Where its rows run as the scene's do, its own pixels are read. Otherwise it is warped straight
    onto the scene's pixels, and where chips are resampled from those, that is a second time.

    Args:
        path: The earlier picture.
        scene: The open scene, which shares ground with it by `find_overlap`.
        options: How the scene was opened.
        shift: What is known of its shift, which is corrected where that says so.

    Raises:
        SceneError: If it cannot be opened as a scene.
    """
    return Scene.open(path, options, onto=_grid(scene, crs_offset(shift, scene)))


def _other_windows(
    windows: Sequence[Window], scene: Scene, pre: Scene, offset: tuple[float, float]
) -> list[Window]:
    """Return the windows of the same ground in pixels of the earlier picture."""
    here, there = scene.transform, pre.transform
    across, down = here.a / there.a, here.e / there.e
    left = (here.c + offset[0] - there.c) / there.a
    top = (here.f + offset[1] - there.f) / there.e
    return [
        Window(
            _snapped(window.col_off * across + left),
            _snapped(window.row_off * down + top),
            _snapped(window.width * across),
            _snapped(window.height * down),
        )
        for window in windows
    ]


def crs_offset(shift: Shift | None, scene: Scene) -> tuple[float, float]:
    """Return what leads from a place to where the earlier picture shows it, in units of the CRS."""
    if shift is None or not shift.corrected:
        return 0.0, 0.0
    across_m, down_m = scene.pixel_m
    east = shift.east_m * scene.transform.a / across_m
    return east, -shift.north_m * scene.transform.e / down_m


def _grid(scene: Scene, offset: tuple[float, float]) -> PixelGrid | None:
    """Return the scene's grid, moved to where the earlier picture shows its ground."""
    if scene.crs is None:
        return None
    grid = scene.transform
    return PixelGrid(
        transform=Affine(grid.a, 0, grid.c + offset[0], 0, grid.e, grid.f + offset[1]),
        crs=scene.crs,
        width=scene.width,
        height=scene.height,
    )


def _snapped(pixels: float) -> float:
    """Return whole pixels where only rounding keeps them from it."""
    whole = round(pixels)
    return float(whole) if abs(pixels - whole) < WHOLE_PX else pixels
