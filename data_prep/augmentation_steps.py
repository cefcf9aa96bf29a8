"""The table of augmentations: parameters, and the steps of albumentations that each is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from pydantic import Field

from damagenet.config import Settings

Steps = list[Any]  # albumentations ships no types

OTHER = "other"
"""What the tile of the other class is called in a call of albumentations."""
RESAMPLED = {"interpolation": 2, "border_mode": 4, "p": 1.0}  # cv2: cubic, mirrored at the edge
HIGHEST_QUALITY = 95
"""Of the JPEG that another rendering of a picture goes through."""


class NoParameters(Settings):
    """An augmentation that takes no parameters."""


class CaoChoeParameters(Settings):
    """Ranges of the published recipe (arXiv:1807.01688); its shear of 0.2 is in radians.

    As the paper is recalled, not as it was read again: its text and code were not at hand.
    """

    rotation_deg: float = Field(40.0, ge=0, le=180)
    shift: float = Field(0.2, ge=0, lt=1)
    """Largest shift as a share of the side."""
    shear_deg: float = Field(11.5, ge=0, lt=60)
    zoom: float = Field(0.2, ge=0, lt=1)
    """Sides are scaled by 1 - zoom to 1 + zoom, each on its own."""


class ColourParameters(Settings):
    """Largest change of each colour property; 0 leaves it alone."""

    brightness: float = Field(0.2, ge=0, lt=1)
    contrast: float = Field(0.2, ge=0, lt=1)
    saturation: float = Field(0.2, ge=0, lt=1)
    hue: float = Field(0.03, ge=0, le=0.5)
    probability: float = Field(0.8, ge=0, le=1)
    """Share of the tiles whose colours change."""


class CropParameters(Settings):
    """Which part of a tile is cut out and resized to the whole."""

    size_px: int = Field(128, ge=8)
    """Side that it is resized to: that of the tiles."""
    smallest: float = Field(0.08, gt=0, le=1)
    """Least share of the area of the tile; the proportions are drawn from 3:4 to 4:3."""


class DomainParameters(Settings):
    """How much of a picture is made to look like one of the other class."""

    probability: float = Field(0.5, ge=0, le=1)
    """Share of the tiles that change: at 0.5 colours say nothing of the class."""
    way: Literal["any", "histogram", "fourier", "pixels"] = "any"
    """Matched histograms, the low frequencies of the other picture (FDA, arXiv:2004.05498), its
    principal components of colour (pixel distribution adaptation), or one of them at a time."""
    beta: float = Field(0.1, ge=0, le=0.5)
    """Largest share of the frequencies that `fourier` takes over."""


class StrongParameters(ColourParameters):
    """Colour changes, and what other sensors and archives do to a picture."""

    brightness: float = Field(0.3, ge=0, lt=1)
    contrast: float = Field(0.3, ge=0, lt=1)
    saturation: float = Field(0.3, ge=0, lt=1)
    hue: float = Field(0.05, ge=0, le=0.5)
    degrade: float = Field(0.3, ge=0, le=1)
    """Share of the tiles that are blurred; likewise noise, compression and holes."""


class RerenderParameters(Settings):
    """What another rendering of the same picture changes: nothing that is damage."""

    zoom: float = Field(0.12, ge=0, lt=1)
    """Sides are scaled by 1 - zoom to 1 + zoom, both pictures of a chip alike."""
    shift: float = Field(0.03, ge=0, lt=0.5)
    """Largest shift of each picture on its own, as a share of the side: two pictures of one place
    rarely lie exactly on each other."""
    blur: tuple[float, float] = (0.4, 1.0)
    """Deviation of the blur in pixels, from and to."""
    light: float = Field(0.08, ge=0, lt=1)
    """Largest change of brightness and of contrast."""
    lowest_quality: int = Field(75, ge=1, le=HIGHEST_QUALITY)
    """JPEG quality that is drawn at least."""


def _none(_: ModuleType, __: NoParameters) -> Steps:
    return []


def _flips(lib: ModuleType, _: NoParameters) -> Steps:
    return [lib.HorizontalFlip(p=0.5), lib.VerticalFlip(p=0.5)]


def _d4(lib: ModuleType, _: NoParameters) -> Steps:
    return [lib.D4(p=1.0)]


def _cao_choe(lib: ModuleType, parameters: CaoChoeParameters) -> Steps:
    turn, shift, shear = parameters.rotation_deg, parameters.shift, parameters.shear_deg
    affine = lib.Affine(
        rotate=(-turn, turn),
        translate_percent=(-shift, shift),
        shear=(-shear, shear),
        scale=(1 - parameters.zoom, 1 + parameters.zoom),
        border_mode=1,  # cv2.BORDER_REPLICATE: the nearest pixel, as in the published recipe
        p=1.0,
    )
    return [affine, lib.HorizontalFlip(p=0.5)]


def _crop(lib: ModuleType, parameters: CropParameters) -> Steps:
    side, shares = parameters.size_px, (parameters.smallest, 1.0)
    return [lib.RandomResizedCrop(size=(side, side), scale=shares), lib.HorizontalFlip(p=0.5)]


def _colour(lib: ModuleType, parameters: ColourParameters) -> Steps:
    jitter = lib.ColorJitter(
        brightness=(1 - parameters.brightness, 1 + parameters.brightness),
        contrast=(1 - parameters.contrast, 1 + parameters.contrast),
        saturation=(1 - parameters.saturation, 1 + parameters.saturation),
        hue=(-parameters.hue, parameters.hue),
        p=parameters.probability,
    )
    return [lib.D4(p=1.0), jitter]


def _strong(lib: ModuleType, parameters: StrongParameters) -> Steps:
    share = parameters.degrade
    return [
        *_colour(lib, parameters),
        lib.GaussianBlur(sigma_limit=(0.3, 1.5), p=share),
        lib.GaussNoise(std_range=(0.01, 0.06), p=share),
        lib.ImageCompression(quality_range=(40, 95), p=share),
        lib.CoarseDropout(
            num_holes_range=(1, 4), hole_height_range=(8, 32), hole_width_range=(8, 32), p=share
        ),
    ]


def _rerender(lib: ModuleType, parameters: RerenderParameters) -> Steps:
    zoom = (1 - parameters.zoom, 1 + parameters.zoom)
    return [lib.D4(p=1.0), lib.Affine(scale=zoom, keep_ratio=True, **RESAMPLED)]


def _rerender_apart(lib: ModuleType, parameters: RerenderParameters) -> Steps:
    shift, light = parameters.shift, parameters.light
    return [
        lib.Affine(translate_percent=(-shift, shift), **RESAMPLED),
        lib.GaussianBlur(blur_limit=(5, 5), sigma_limit=parameters.blur, p=1.0),
        lib.RandomBrightnessContrast(
            brightness_limit=(-light, light), contrast_limit=(-light, light), p=1.0
        ),
        lib.ImageCompression(quality_range=(parameters.lowest_quality, HIGHEST_QUALITY), p=1.0),
    ]


def _domain(lib: ModuleType, parameters: DomainParameters) -> Steps:
    from data_prep.pixel_adaptation import PixelAdaptation  # imports albumentations

    makers: dict[str, Callable[[str], Any]] = {
        "histogram": lambda key: lib.HistogramMatching(metadata_key=key, p=1.0),
        "fourier": lambda key: lib.FDA(beta_limit=(0, parameters.beta), metadata_key=key, p=1.0),
        "pixels": lambda key: PixelAdaptation(metadata_key=key, p=1.0),
    }
    ways = [make(OTHER) for way, make in makers.items() if parameters.way in ("any", way)]
    return [lib.OneOf(ways, p=parameters.probability), lib.D4(p=1.0)]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table: the parameters an augmentation takes and the steps it is made of."""

    parameters: type[Settings]
    steps: Callable[[ModuleType, Any], Steps]  # Any: each takes its own parameters
    apart: Callable[[ModuleType, Any], Steps] | None = None
    """Steps that each picture of a chip goes through on its own, afterwards."""
    needs_other: bool = False
    """Whether it takes a tile of the other class beside the one that changes."""


AUGMENTATIONS: dict[str, Entry] = {
    "none": Entry(NoParameters, _none),
    # Pixels are square in degrees, not in metres: only flips keep a building's proportions.
    "flips": Entry(NoParameters, _flips),
    "d4": Entry(NoParameters, _d4),
    "cao_choe": Entry(CaoChoeParameters, _cao_choe),
    "crop": Entry(CropParameters, _crop),
    "colour": Entry(ColourParameters, _colour),
    "strong": Entry(StrongParameters, _strong),
    "domain": Entry(DomainParameters, _domain, needs_other=True),
    "rerender": Entry(RerenderParameters, _rerender, _rerender_apart),
}
"""Every augmentation by name: none; flips; the eight symmetries of the square; the published
recipe; random resized crop and flip; `d4` with colour changes; that with blur, noise, compression
and holes; `d4` with the colours of a tile of the other class; `d4` with another resampling,
sharpness, light and compression, of two pictures each its own."""
