"""Chips to send, and bundles that tell them apart."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tiny_run import SIZE_PX, make_bundle

from damagenet.bundle import load_bundle
from damagenet.card import Calibration
from damagenet.inference import Predictor

Pixels = NDArray[np.uint8]


def chips(count: int, *, seed: int = 0, size: int = SIZE_PX) -> Pixels:
    """Return random chips, uint8 (count, 3, size, size)."""
    shape = (count, 3, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def npy(array: NDArray[np.generic], *, allow_pickle: bool = False) -> bytes:
    """Return an array as an NPY file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def picture(chip: Pixels, kind: str = "PNG", *, mode: str = "RGB", quality: int = 90) -> bytes:
    """Return a chip (3, S, S) as a PNG, JPEG or GIF."""
    stream = io.BytesIO()
    image = Image.fromarray(chip.transpose(1, 2, 0)).convert(mode)
    image.save(stream, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return stream.getvalue()


def make_telling_bundle(folder: Path, *, inputs: tuple[str, ...] = ("post",)) -> Predictor:
    """Write a bundle whose probabilities for random chips are spread over 0..1; load it."""
    make_bundle(folder, inputs=inputs)
    images = tuple(chips(64, seed=seed) for seed, _ in enumerate(inputs))
    logits = Predictor(load_bundle(folder), device="cpu").logits(images)
    spread = float(logits.std())
    calibration = Calibration(temperature=spread, bias=-float(np.median(logits)) / spread)
    make_bundle(folder, inputs=inputs, calibration=calibration)
    return Predictor(load_bundle(folder), device="cpu")
