"""Give a picture the colours of another: PCA of both, as albumentations means to do it.

albumentations 2.0.8 turns the adapted colours, which are 0..1, into whole numbers without making
0..255 of them first, so that its `PixelDistributionAdaptation` only darkens. This one scales.
Imports albumentations, which takes seconds: import it where it is used.
"""

from typing import Any

import albumentations
import numpy as np
from albucore import from_float
from albumentations.augmentations.mixing import domain_adaptation_functional as functional


class _Adapter(functional.DomainAdapter):  # type: ignore[misc]
    def reconstruct(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return a uint8 picture (height, width, 3) of colours 0..1."""
        whole = from_float(np.clip(pixels, 0, 1).astype(np.float32), np.uint8)
        return np.asarray(super().reconstruct(whole, height, width))


class PixelAdaptation(albumentations.PixelDistributionAdaptation):  # type: ignore[misc]
    """Moves, turns and stretches the colours of a picture onto those of the reference."""

    def apply(
        self, img: np.ndarray, reference_image: np.ndarray, blend_ratio: float, **params: Any
    ) -> np.ndarray:
        """Return the uint8 picture (H, W, 3), adapted by the share `blend_ratio`.

        Args:
            img: uint8 (H, W, 3).
            reference_image: uint8 (H, W, 3), whose colours it takes over.
            blend_ratio: Share of the adapted picture, 0 to 1.
            params: Not used.
        """
        del params
        adapter = _Adapter(transformer=functional.PCA(), ref_img=reference_image)
        adapted = adapter(img).astype(np.float32)
        mixed = (1 - blend_ratio) * img + blend_ratio * adapted
        return np.asarray(np.rint(mixed).clip(0, 255), np.uint8)
