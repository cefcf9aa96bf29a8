"""Chips as files: pictures that are as large as a chip and say nothing of where they lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damagenet.card import Card
from damagenet.errors import ConfigError, SceneError
from damagenet.explain.explainer import Explainer
from damagenet.explain.picture import Pixels
from damagenet.explain.shown import Look, Shown, keep_pictures
from damagenet.inference import Predictor
from damagenet.rules import verdicts
from data_prep.opening import gdal_session, open_raster

RGB = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFile:
    """The files of one chip.

    Attributes:
        path: After the storm.
        pre: Before it, for models that compare two.
    """

    path: Path
    pre: Path | None = None


def sorted_inputs(paths: Sequence[Path], card: Card) -> tuple[list[Path], list[Path]]:
    """Return which files are chips, and which are scenes.

    A chip is as large as the model's chips, and has no CRS. What cannot be read counts as what
    the others are, so that it is told of where they are read.
    """
    found = {path: _is_chip(path, card.chip.size_px) for path in paths}
    unread_is_chip = True in found.values() and False not in found.values()
    is_chip = {path: unread_is_chip if kind is None else kind for path, kind in found.items()}
    return [path for path in paths if is_chip[path]], [path for path in paths if not is_chip[path]]


def chip_files(paths: Sequence[Path], pre: Path | None, card: Card) -> list[ChipFile]:
    """Return chips with their pictures before the storm.

    Args:
        paths: After the storm.
        pre: Folder of pictures of the same names, or the one picture of a single chip.
        card: The model's.

    Raises:
        ConfigError: If the model compares two pictures and one is missing, or takes one and gets
            two.
    """
    if "pre" not in card.inputs:
        if pre is not None:
            raise ConfigError(f"--pre {pre} cannot be used: model {card.name} takes one picture")
        return [ChipFile(path=path) for path in paths]
    if pre is None:
        raise ConfigError(
            f"model {card.name} compares two pictures: name the folder of those before with --pre"
        )
    files = [ChipFile(path=path, pre=pre / path.name if pre.is_dir() else pre) for path in paths]
    missing = [str(one.pre) for one in files if one.pre is not None and not one.pre.is_file()]
    if missing or (len(files) > 1 and not pre.is_dir()):
        what = missing[0] if missing else f"{pre} for {len(files)} chips"
        raise ConfigError(
            f"--pre: no picture before the storm at {what}: --pre is a folder with a picture of "
            "the same name for every chip"
        )
    return files


def explain_chips(
    files: Sequence[ChipFile], folder: Path, explainer: Explainer, predictor: Predictor
) -> Iterator[Shown]:
    """Explain chips, write their pictures, and yield how they are shown, in order.

    Args:
        files: The chips.
        folder: Of the page; pictures go into a folder below.
        explainer: Of the model.
        predictor: Of the same model.

    Raises:
        SceneError: If a file is no chip of this model.
        OutputError: If a picture cannot be written.
    """
    card = explainer.bundle.card
    size = predictor.batch_size
    for start in range(0, len(files), size):
        some = files[start : start + size]
        images = _read(some, card)
        probability = predictor.probabilities(images)
        labels = verdicts(probability, threshold=card.threshold, uncertain_band=card.uncertain_band)
        found = {method: explainer.explain(method, images) for method in explainer.methods}
        for number, file in enumerate(some):
            look = Look(
                probability=float(probability[number]),
                images=tuple(image[number] for image in images),
                found={method: one.only(number) for method, one in found.items()},
            )
            yield keep_pictures(
                look,
                explainer,
                unit_id=file.path.name,
                label=str(labels[number]),
                name=f"{start + number:04d}_{file.path.stem}",
                folder=folder,
            )


def _read(files: Sequence[ChipFile], card: Card) -> tuple[Pixels, ...]:
    """Return the pixels of chips, uint8 (N, 3, S, S) for each picture."""
    after = np.stack([_pixels(file.path, card.chip.size_px) for file in files])
    if "pre" not in card.inputs:
        return (after,)
    before = [_pixels(file.pre, card.chip.size_px) for file in files if file.pre is not None]
    return after, np.stack(before)


def _is_chip(path: Path, size_px: int) -> bool | None:
    """Whether a file is a chip; None where it cannot be read."""
    try:
        with open_raster(path) as file:
            return (file.width, file.height) == (size_px, size_px) and file.crs is None
    except SceneError:
        return None


def _pixels(path: Path, size_px: int) -> Pixels:
    with open_raster(path) as file, gdal_session(path):
        if (file.width, file.height) != (size_px, size_px):
            raise SceneError(
                f"{path} has {file.width} x {file.height} px, the model takes chips of {size_px} x "
                f"{size_px} px: cut it"
            )
        if file.count not in (3, 4) or file.dtypes[0] != "uint8":
            raise SceneError(
                f"{path} has {file.count} band(s) of {file.dtypes[0]}, the model takes red, green "
                "and blue of 8 bits: convert it"
            )
        return np.asarray(file.read(RGB))
