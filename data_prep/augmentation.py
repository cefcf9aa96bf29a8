"""Augmentations by name: what may change in a training tile without changing its label."""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from damagenet.config import Settings, make_settings
from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from data_prep.unseen import unseen_ground, with_mean_colour, with_unseen

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Steps = list[Any]  # albumentations ships no types

PICTURES = ("image", "image_before")
"""What albumentations calls the pictures of a chip."""
MASKS = ("mask", "mask_before")
"""The same of the masks of their unseen ground, which moves with them."""
SECOND = {PICTURES[1]: "image", MASKS[1]: "mask"}
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


class Augmentation:
    """A random change of the pictures of one chip, reproducible from its seed.

    Args:
        name: Name in the table `AUGMENTATIONS`.
        together: An albumentations `Compose` that changes all pictures of a chip alike, or None.
        apart: One that changes each picture on its own, afterwards, or None.
    """

    def __init__(
        self, name: str, together: Any | None, apart: Any | None = None
    ) -> None:  # Any: albumentations is untyped
        self.name = name
        self._together = together
        self._apart = apart

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the changed tile for uint8 pixels (H, W, 3); H and W stay."""
        return self.pictures((pixels,))[0]

    def pictures(self, pictures: Sequence[Pixels]) -> tuple[Pixels, ...]:
        """Return the changed pictures of one chip, each uint8 (H, W, 3); at most two.

        Black ground that was not seen (`unseen_ground`) moves along and stays black.
        """
        unseen = [unseen_ground(picture) for picture in pictures]
        changes = self._together is not None or self._apart is not None
        if changes and any(ground.any() for ground in unseen):
            return self._with_unseen(pictures, unseen)
        changed = tuple(pictures)
        if self._together is not None:
            named = dict(zip(PICTURES, changed, strict=False))
            found = self._together(**named)
            changed = tuple(found[name] for name in named)
        if self._apart is not None:
            changed = tuple(self._apart(image=picture)["image"] for picture in changed)
        return changed

    def _with_unseen(
        self, pictures: Sequence[Pixels], unseen: Sequence[Mask]
    ) -> tuple[Pixels, ...]:
        changed = [with_mean_colour(*each) for each in zip(pictures, unseen, strict=True)]
        # albumentations moves masks of whole numbers alone.
        masks = [ground.astype(np.uint8) for ground in unseen]
        if self._together is not None:
            named = dict(zip(PICTURES, changed, strict=False))
            found = self._together(**named, **dict(zip(MASKS, masks, strict=False)))
            changed = [found[name] for name in named]
            masks = [found[name] for name in MASKS[: len(masks)]]
        if self._apart is not None:
            found_each = [
                self._apart(image=picture, mask=mask)
                for picture, mask in zip(changed, masks, strict=True)
            ]
            changed = [found["image"] for found in found_each]
            masks = [found["mask"] for found in found_each]
        return tuple(
            with_unseen(picture, mask.astype(bool))
            for picture, mask in zip(changed, masks, strict=True)
        )

    def reseed(self, seed: int) -> None:
        """Start the random numbers anew from a seed of 0 or above."""
        for pipeline in (self._together, self._apart):
            if pipeline is not None:
                # `set_random_seed` would give each step the same numbers: all flips or none.
                pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))


def build_augmentation(choice: Choice, seed: int) -> Augmentation:
    """Return a fresh augmentation from the table.

    Args:
        choice: Name in `AUGMENTATIONS` and its parameters.
        seed: Start of its random numbers; the same seed gives the same sequence of changes.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a parameter is out of range.
    """
    if choice.name not in AUGMENTATIONS:
        choices = ", ".join(sorted(AUGMENTATIONS))
        raise ConfigError(f"unknown augmentation {choice.name!r}; choose one of: {choices}")
    entry = AUGMENTATIONS[choice.name]
    settings = make_settings(
        entry.parameters, choice.parameters, source=f"augmentation {choice.name}"
    )
    # Importing it takes a second, and it would look for a newer version on the network.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    together, apart = (
        albumentations.Compose(steps, additional_targets=SECOND) if steps else None
        for steps in (
            entry.steps(albumentations, settings),
            entry.apart(albumentations, settings) if entry.apart else [],
        )
    )
    augmentation = Augmentation(choice.name, together, apart)
    augmentation.reseed(seed)
    return augmentation


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


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the table: the parameters an augmentation takes and the steps it is made of."""

    parameters: type[Settings]
    steps: Callable[[ModuleType, Any], Steps]  # Any: each takes its own parameters
    apart: Callable[[ModuleType, Any], Steps] | None = None
    """Steps that each picture of a chip goes through on its own, afterwards."""


AUGMENTATIONS: dict[str, _Entry] = {
    "none": _Entry(NoParameters, _none),
    # Pixels are square in degrees, not in metres: only flips keep a building's proportions.
    "flips": _Entry(NoParameters, _flips),
    "d4": _Entry(NoParameters, _d4),
    "cao_choe": _Entry(CaoChoeParameters, _cao_choe),
    "crop": _Entry(CropParameters, _crop),
    "colour": _Entry(ColourParameters, _colour),
    "strong": _Entry(StrongParameters, _strong),
    "rerender": _Entry(RerenderParameters, _rerender, _rerender_apart),
}
"""Every augmentation by name: none; flips; the eight symmetries of the square; the published
recipe; random resized crop and flip; `d4` with colour changes; that with blur, noise, compression
and holes; `d4` with another resampling, sharpness, light and compression, of two pictures each its
own."""
