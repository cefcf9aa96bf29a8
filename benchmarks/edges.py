"""How far verdicts move when houses come near the edge of a picture.

    python benchmarks/edges.py --model NAME [--model OTHER] [--data FOLDER]

Houses whose whole chip lies in a scene are judged as they are, and as if the scene ended 48, 32,
16 or 4 px from their centre, on each of its four sides in turn: what lies beyond is black, as in a
chip of `damagenet assess`. Prints the mean |p - p of the whole chip|, its mean with its sign, and
the share of verdicts that change, for houses called damaged in the whole chip and for the others.
xBD's scenes and Houston 00; takes minutes of one core.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from damagenet.bundle import load_bundle
from damagenet.card import ChipGround
from damagenet.inference import Predictor
from data_prep.alignment import estimate_shift
from data_prep.footprints import building_units, read_buildings
from data_prep.graded import find_scenes
from data_prep.overlap import find_overlap
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene, SceneOptions

FROM_CENTRE_PX = (48, 32, 16, 4)
SIDES = ("left", "right", "top", "bottom")
Images = tuple[NDArray[np.uint8], ...]


def places(data: Path) -> Iterator[tuple[str, Path, Path, Path]]:
    """Yield name, scene, its buildings and the picture from before the storm."""
    for scene in find_scenes(data / "xbd"):
        if scene.after:
            yield scene.name, scene.path, scene.buildings, scene.before
    folder = data / "scenes"
    yield (
        "houston_00",
        folder / "houston_00_post.tif",
        folder / "houston_00_buildings.geojson",
        folder / "houston_00_pre.tif",
    )


@contextmanager
def opened(path: Path, before: Path | None, ground: ChipGround) -> Iterator[Pictures]:
    """Yield a scene, with the picture from before the storm laid on it if one is given."""
    options = SceneOptions(chip=ground)
    with Scene.open(path, options) as scene:
        if before is None:
            yield Pictures(scene=scene)
            return
        overlap = find_overlap(before, scene)
        with open_pre(before, scene, options) as pre:
            shift = estimate_shift(scene, pre, overlap)
        with open_pre(before, scene, options, shift=shift) as pre:
            yield Pictures(scene=scene, pre=pre, shift=shift)


def whole_chips(pictures: Pictures, buildings: Path, ground: ChipGround) -> Images:
    """Return the chips of buildings that a scene shows whole, and of no other."""
    scene = pictures.scene
    units = building_units(read_buildings(buildings).touching(scene), scene, ground)
    windows = [window for unit in units for window in unit.windows]
    chips = pictures.read_chips(windows, size_px=ground.size_px)
    whole = chips.valid.all(axis=(1, 2))
    return tuple(image[whole] for image in chips.images)


def cut(images: Images, side: str, from_centre_px: int) -> Images:
    """Return chips (N, 3, S, S) that are black from so many pixels beyond their centre."""
    size = images[0].shape[-1]
    first, last = size // 2 + from_centre_px, size // 2 - from_centre_px
    part = {
        "left": (..., slice(0, last)),
        "right": (..., slice(first, size)),
        "top": (..., slice(0, last), slice(None)),
        "bottom": (..., slice(first, size), slice(None)),
    }[side]
    found = tuple(image.copy() for image in images)
    for image in found:
        image[part] = 0
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--data", type=Path, default=os.environ.get("DAMAGENET_DATA"))
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of real data with --data, or in $DAMAGENET_DATA")
    for name in given.model:
        report(name, Predictor(load_bundle(name)), Path(given.data))


def report(name: str, predictor: Predictor, data: Path) -> None:
    """Print the figures of one model."""
    card = predictor.bundle.card
    images: list[Images] = []
    for _, path, buildings, before in places(data):
        with opened(path, before if "pre" in card.inputs else None, card.chip) as pictures:
            images.append(whole_chips(pictures, buildings, card.chip))
    chips = tuple(np.concatenate(each) for each in zip(*images, strict=True))
    p = predictor.probabilities(chips)
    called = p >= card.threshold
    print(f"{name}: {len(p)} chips, {called.sum()} of them called damaged")
    for from_centre in FROM_CENTRE_PX:
        moved = np.stack([predictor.probabilities(cut(chips, side, from_centre)) for side in SIDES])
        for what, rows in (("damaged", called), ("others", ~called)):
            change = (moved - p)[:, rows]
            turned = ((moved >= card.threshold) != called)[:, rows]
            print(
                f"  edge {from_centre:2d} px from the centre, {what:7s}: "
                f"|dp| {np.abs(change).mean():.3f}, dp {change.mean():+.3f}, "
                f"other verdicts {100 * turned.mean():.1f} %"
            )


if __name__ == "__main__":
    main()
