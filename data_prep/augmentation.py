"""Augmentations by name: what may change in a training tile without changing its label."""

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from data_prep.augmentation_steps import AUGMENTATIONS, OTHER
from data_prep.unseen import unseen_ground, with_mean_colour, with_unseen

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

PICTURES = ("image", "image_before")
"""What albumentations calls the pictures of a chip."""
MASKS = ("mask", "mask_before")
"""The same of the masks of their unseen ground, which moves with them."""
SECOND = {PICTURES[1]: "image", MASKS[1]: "mask"}


class Augmentation:
    """A random change of the pictures of one chip, reproducible from its seed.

    Args:
        name: Name in the table `AUGMENTATIONS`.
        together: An albumentations `Compose` that changes all pictures of a chip alike, or None.
        apart: One that changes each picture on its own, afterwards, or None.
        needs_other: Whether each call takes a tile of the other class as well.
    """

    def __init__(
        self,
        name: str,
        together: Any | None,  # Any: albumentations is untyped
        apart: Any | None = None,
        *,
        needs_other: bool = False,
    ) -> None:
        self.name = name
        self.needs_other = needs_other
        self._together = together
        self._apart = apart

    def __call__(self, pixels: Pixels, other: Pixels | None = None) -> Pixels:
        """Return the changed tile for uint8 pixels (H, W, 3); H and W stay."""
        return self.pictures((pixels,), other)[0]

    def pictures(
        self, pictures: Sequence[Pixels], other: Pixels | None = None
    ) -> tuple[Pixels, ...]:
        """Return the changed pictures of one chip, each uint8 (H, W, 3); at most two.

        Black ground that was not seen (`unseen_ground`) moves along and stays black.

        Args:
            pictures: Of one chip.
            other: A tile of the other class, where `needs_other`.

        Raises:
            ConfigError: If it is needed and not given.
        """
        if self.needs_other and other is None:
            raise ConfigError(
                f"augmentation {self.name} needs a tile of the other class: train on tiles in steps"
            )
        beside = {OTHER: [other]} if self.needs_other else {}
        unseen = [unseen_ground(picture) for picture in pictures]
        changes = self._together is not None or self._apart is not None
        if changes and any(ground.any() for ground in unseen):
            return self._with_unseen(pictures, unseen, beside)
        changed = tuple(pictures)
        if self._together is not None:
            named = dict(zip(PICTURES, changed, strict=False))
            found = self._together(**named, **beside)
            changed = tuple(found[name] for name in named)
        if self._apart is not None:
            changed = tuple(self._apart(image=picture)["image"] for picture in changed)
        return changed

    def _with_unseen(
        self,
        pictures: Sequence[Pixels],
        unseen: Sequence[Mask],
        beside: dict[str, list[Pixels | None]],
    ) -> tuple[Pixels, ...]:
        changed = [with_mean_colour(*each) for each in zip(pictures, unseen, strict=True)]
        # albumentations moves masks of whole numbers alone.
        masks = [ground.astype(np.uint8) for ground in unseen]
        if self._together is not None:
            named = dict(zip(PICTURES, changed, strict=False))
            found = self._together(**named, **beside, **dict(zip(MASKS, masks, strict=False)))
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
    augmentation = Augmentation(choice.name, together, apart, needs_other=entry.needs_other)
    augmentation.reseed(seed)
    return augmentation
