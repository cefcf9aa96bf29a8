"""What must be said of a scene that is assessed all the same."""

from rasterio.io import DatasetReader

from data_prep.north_up import NorthUp
from data_prep.pixels import PixelSource

WARN_COARSE_M = 1.5
"""Ground sampling above which a scene is assessed with a warning."""


def scene_warnings(
    file: DatasetReader, grid: NorthUp, source: PixelSource, sampling_m: float
) -> tuple[str, ...]:
    """Return a sentence for each thing about a scene that weakens what a network says of it.

    Args:
        file: As it lies on disk.
        grid: How it is brought north-up.
        source: Which of its bands are read, and how deep they are.
        sampling_m: Metres per pixel, the coarser of both axes.
    """
    alike = source.scale is not None and source.scale.gain == 0
    found = (
        grid.warning,
        source.choice.warning,
        f"its pixels of {sampling_m:.2f} m are coarser than {WARN_COARSE_M} m: expect weaker "
        "verdicts"
        if sampling_m > WARN_COARSE_M
        else "",
        _lossy(file),
        "all its valid pixels seem to have one value: it may hold no picture" if alike else "",
    )
    return tuple(text for text in found if text)


def _lossy(file: DatasetReader) -> str:
    """Warn of JPEG: networks that look at fine texture lean on what it leaves of it."""
    if "JPEG" not in file.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", ""):
        return ""
    return (
        "its pixels are compressed with loss (JPEG), which changes fine texture: expect more false "
        "alarms, and take the uncompressed scene where there is one"
    )
