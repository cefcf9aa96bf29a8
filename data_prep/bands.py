"""Which bands of a file are red, green and blue, and what its palette means."""

from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from damagenet.errors import SceneError


@dataclass(frozen=True, slots=True, kw_only=True)
class BandChoice:
    """Three bands to read, and how to colour them."""

    indexes: tuple[int, int, int]
    """Red, green, blue, counted from 1."""
    palette: np.ndarray | None = None
    """uint8 (entries, 4): red, green, blue, alpha by pixel value; None without a palette."""
    warning: str = ""


def choose_bands(dataset: DatasetReader, requested: tuple[int, ...] | None) -> BandChoice:
    """Return the bands asked for, else those tagged or described as red, green and blue.

    Where none are, they are the first three.

    Raises:
        SceneError: If a band does not exist, there are too few, or their pixels are complex.
    """
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise SceneError(f"{dataset.name} has complex pixels (radar): a picture is needed")
    if ColorInterp.palette in dataset.colorinterp:
        index = dataset.colorinterp.index(ColorInterp.palette) + 1
        return BandChoice(indexes=(index,) * 3, palette=_palette(dataset, index))
    if requested is not None:
        return BandChoice(indexes=_checked(dataset, requested))
    return _by_tag(dataset) or _by_description(dataset) or _first_three(dataset)


def _checked(dataset: DatasetReader, requested: tuple[int, ...]) -> tuple[int, int, int]:
    if len(requested) != 3:
        raise SceneError(f"three bands are needed (red, green, blue), got {requested}")
    beyond = [band for band in requested if not 1 <= band <= dataset.count]
    if beyond:
        raise SceneError(
            f"scene has {_count(dataset.count)}, --bands asks for band {beyond[0]}: "
            f"name bands from 1 to {dataset.count}"
        )
    red, green, blue = requested
    return red, green, blue


def _by_tag(dataset: DatasetReader) -> BandChoice | None:
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if not set(wanted) <= set(dataset.colorinterp):
        return None
    red, green, blue = (dataset.colorinterp.index(colour) + 1 for colour in wanted)
    return BandChoice(indexes=(red, green, blue))


def _by_description(dataset: DatasetReader) -> BandChoice | None:
    names = [(text or "").strip().lower() for text in dataset.descriptions]
    if not {"red", "green", "blue"} <= set(names):
        return None
    red, green, blue = (names.index(colour) + 1 for colour in ("red", "green", "blue"))
    return BandChoice(indexes=(red, green, blue))


def _first_three(dataset: DatasetReader) -> BandChoice:
    colours = [
        index
        for index, colour in zip(dataset.indexes, dataset.colorinterp, strict=True)
        if colour is not ColorInterp.alpha
    ]
    if len(colours) < 3:
        raise SceneError(
            f"scene has {_count(len(colours))}, model needs 3 (bands 1,2,3): pass --bands, as in "
            "--bands 1,1,1 for a grey picture"
        )
    warning = ""
    if len(colours) > 3:
        warning = (
            f"its {len(colours)} bands carry no colour names: bands 1,2,3 are read as red, green, "
            "blue; pass --bands 3,2,1 if they are blue, green, red"
        )
    return BandChoice(indexes=(colours[0], colours[1], colours[2]), warning=warning)


def _palette(dataset: DatasetReader, index: int) -> np.ndarray:
    colours = dataset.colormap(index)
    entries = np.iinfo(dataset.dtypes[index - 1]).max + 1
    table = np.zeros((entries, 4), np.uint8)
    for value, rgba in colours.items():
        table[value] = rgba
    return table


def _count(bands: int) -> str:
    return f"{bands} band" if bands == 1 else f"{bands} bands"
