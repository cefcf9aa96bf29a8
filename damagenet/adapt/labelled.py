"""The labelled buildings as the model sees them: their chips, their truth and their place."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from damagenet.card import Card
from damagenet.engine.before import find_pre, opened_pictures, scene_options
from damagenet.engine.fingerprints import scene_sha256
from damagenet.engine.judging import owners
from damagenet.errors import DataError
from damagenet.evaluation.contradictions import metres_around, one_label_each
from damagenet.evaluation.truth import Survey
from damagenet.options import AssessOptions
from damagenet.totals.labels import RANDOM
from data_prep.clouds import seen_ground
from data_prep.footprints import Buildings, building_units
from data_prep.pairing import Pictures
from data_prep.scene import Scene

logger = logging.getLogger(__name__)

FEWEST = 20
"""With fewer labels nothing is adapted: half of them could be wrong by chance."""
WINDOWS_AT_ONCE = 256
OUTSIDE, UNSEEN, HIDDEN = "outside the scenes", "on nodata", "hidden by cloud or light"
TWICE = "named twice"

Images = tuple[npt.NDArray[np.uint8], ...]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """Labelled buildings that the scenes show: N of them, with M chips.

    Attributes:
        unit_id: The caller's ids (N,).
        damaged: What the label says (N,).
        random: The label was drawn at random (N,).
        scene: Stem of the scene that it was read from (N,).
        scene_sha256: Hash of that scene's file (N,).
        images: One uint8 array (M, 3, S, S) for each picture of a chip.
        owner: Which building each chip shows, ascending (M,).
        ground: West, south, east and north of each chip in metres, in one projection (M, 4).
        lonlat: Longitude and latitude of each chip's centre in degrees (M, 2).
        left_out: Labels that are not among these, by reason.
    """

    unit_id: npt.NDArray[np.str_]
    damaged: Bools
    random: Bools
    scene: npt.NDArray[np.str_]
    scene_sha256: npt.NDArray[np.str_]
    images: Images
    owner: Rows
    ground: Floats
    lonlat: Floats
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.unit_id)

    @property
    def centres(self) -> Floats:
        """East and north of the middle of each building's chips in metres (N, 2)."""
        middle = (self.ground[:, :2] + self.ground[:, 2:]) / 2
        chips = np.bincount(self.owner, minlength=len(self))
        sums = [np.bincount(self.owner, middle[:, axis], len(self)) for axis in (0, 1)]
        return np.stack(sums, axis=1) / chips[:, None]

    def only(self, units: Rows) -> "Labelled":
        """Return some of the buildings with their chips, in the order of this.

        Args:
            units: Their numbers, ascending.
        """
        chips = np.isin(self.owner, units)
        return replace(
            self,
            unit_id=self.unit_id[units],
            damaged=self.damaged[units],
            random=self.random[units],
            scene=self.scene[units],
            scene_sha256=self.scene_sha256[units],
            images=tuple(image[chips] for image in self.images),
            owner=np.searchsorted(units, self.owner[chips]),
            ground=self.ground[chips],
            lonlat=self.lonlat[chips],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenChips:
    """The chips of some windows, and how much of each can be used, 0..1 (N,)."""

    images: Images
    imagery: Floats
    usable: Floats


def read_labelled(
    survey: Survey, scenes: Sequence[Path], options: AssessOptions, card: Card, *, source: str
) -> Labelled:
    """Read the chips of labelled buildings from the scenes; each from the first that shows it.

    Args:
        survey: The labels, with the column `drawn`.
        scenes: Files of scenes.
        options: How scenes are read.
        card: Of the model that is to see the chips.
        source: Name of the labels' file.

    Raises:
        EvaluationError: If labels contradict each other.
        DataError: If fewer than `FEWEST` can be used, or all of one class.
        DamageNetError: As reading scenes does.
    """
    metres = metres_around(survey.frame, source=source)
    frame = one_label_each(survey.frame.to_crs(metres), source=source)
    left_out = Counter({TWICE: len(survey.frame) - len(frame)})
    found: list[Labelled] = []
    reason = dict.fromkeys(frame.index, OUTSIDE)
    for path in scenes:
        rest = frame.loc[[row for row, why in reason.items() if why]]
        with (
            Scene.open(path, scene_options(options, card)) as scene,
            opened_pictures(scene, options, card, find_pre(scene, options)) as opened,
        ):
            for warning in (*scene.warnings, *opened.warnings):
                logger.warning("%s: %s", path, warning)
            seen, told = _on_scene(rest, opened.pictures, options, card)
        reason |= told
        found.append(seen)
    left_out.update(why for why in reason.values() if why)
    joined = _joined(found, {why: count for why, count in left_out.items() if count})
    hit = int(joined.damaged.sum())
    require_enough(hit, len(joined) - hit, source=source, left_out=joined.left_out)
    return joined


def require_enough(
    damaged: int, undamaged: int, *, source: str, left_out: Mapping[str, int] | None = None
) -> None:
    """Refuse labels that cannot carry an adaptation.

    Args:
        damaged: How many say damaged.
        undamaged: How many say undamaged.
        source: Name of their file.
        left_out: Others, by the reason why they cannot be used.

    Raises:
        DataError: If there are fewer than `FEWEST`, or all of one class.
    """
    usable = damaged + undamaged
    left = ", ".join(f"{count} {why}" for why, count in (left_out or {}).items())
    if usable < FEWEST:
        raise DataError(
            f"{source}: {usable} labels can be used, an adaptation needs {FEWEST}"
            + (f" (left out: {left})" if left else "")
            + ": label more buildings on these scenes, of both classes"
        )
    if 0 in (damaged, undamaged):
        one, other = ("undamaged", "damaged") if damaged == 0 else ("damaged", "undamaged")
        raise DataError(
            f"{source}: all {usable} labels that can be used are {one}: label {other} buildings too"
        )


def read_label_chips(
    pictures: Pictures, windows: Sequence[Window], options: AssessOptions, *, size_px: int
) -> SeenChips:
    """Read the chips of windows as `damagenet assess` does, and say how much of each is usable.

    Args:
        pictures: The open scene, with the picture before it for models that compare.
        windows: N windows.
        options: Whether clouds are looked for.
        size_px: Side of a chip in pixels.
    """
    read = []
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        chips = pictures.read_chips(windows[start : start + WINDOWS_AT_ONCE], size_px=size_px)
        usable = chips.valid
        if options.clouds == "check":
            for image in chips.images:
                usable = seen_ground(image, usable)
        read.append(
            SeenChips(
                images=chips.images,
                imagery=chips.valid.mean(axis=(1, 2)),
                usable=usable.mean(axis=(1, 2)),
            )
        )
    if not read:
        return SeenChips(images=(), imagery=np.empty(0), usable=np.empty(0))
    images = zip(*(one.images for one in read), strict=True)
    return SeenChips(
        images=tuple(np.concatenate(parts) for parts in images),
        imagery=np.concatenate([one.imagery for one in read]),
        usable=np.concatenate([one.usable for one in read]),
    )


def _on_scene(
    labels: gpd.GeoDataFrame, pictures: Pictures, options: AssessOptions, card: Card
) -> tuple[Labelled, dict[int, str]]:
    """Return the labels that a scene shows, and for those on it why not (blank where it does)."""
    scene = pictures.scene
    points = bool((labels.geom_type == "Point").any())
    buildings = Buildings(
        frame=labels, path=scene.path, geometry="point" if points else "polygon"
    ).touching(scene)
    units = [unit for unit in building_units(buildings, scene, card.chip) if unit.windows]
    windows = [window for unit in units for window in unit.windows]
    chips = read_label_chips(pictures, windows, options, size_px=card.chip.size_px)
    owner = owners(units)
    # The rules of `damagenet.engine.judging`: chips with too little are left out, and units too.
    enough = chips.usable >= max(options.min_valid, 1e-9)
    shown = _means(chips.usable, owner, len(units)) >= max(options.min_valid, 1e-9)
    shown &= np.bincount(owner[enough], minlength=len(units)) > 0
    imagery = _means(chips.imagery, owner, len(units)) >= max(options.min_valid, 1e-9)
    told = {
        unit.row: "" if seen else HIDDEN if pictured else UNSEEN
        for unit, seen, pictured in zip(units, shown, imagery, strict=True)
    }
    kept = np.flatnonzero(shown)
    taken = np.flatnonzero(enough & shown[owner])
    rows = labels.loc[[units[number].row for number in kept]]
    return (
        Labelled(
            unit_id=rows["unit_id"].to_numpy(str),
            damaged=rows["damaged"].to_numpy(bool),
            random=(rows["drawn"] == RANDOM).to_numpy(bool),
            scene=np.full(len(rows), scene.path.stem),
            scene_sha256=np.full(len(rows), scene_sha256(scene.path)),
            images=tuple(image[taken] for image in chips.images),
            owner=np.searchsorted(kept, owner[taken]),
            left_out={},
            **_places(scene, [windows[number] for number in taken], labels),
        ),
        told,
    )


def _places(scene: Scene, windows: Sequence[Window], labels: gpd.GeoDataFrame) -> dict[str, Floats]:
    """Return the ground of windows in the metres of the labels, and their centres in degrees."""
    sides = np.array([(w.col_off, w.row_off, w.width, w.height) for w in windows]).reshape(-1, 4)
    left, top, width, height = sides.T
    lon, lat = scene.lonlat(left + width / 2, top + height / 2)
    centres = gpd.GeoSeries(gpd.points_from_xy(lon, lat), crs=4326).to_crs(labels.crs)
    half = np.stack([width * scene.pixel_m[0], height * scene.pixel_m[1]], axis=1) / 2
    middle = np.stack([centres.x, centres.y], axis=1)
    ground = np.concatenate([middle - half, middle + half], axis=1)
    return {"ground": ground, "lonlat": np.stack([lon, lat], axis=1)}


def _means(shares: Floats, owner: Rows, units: int) -> Floats:
    chips = np.bincount(owner, minlength=units)
    return np.asarray(np.bincount(owner, shares, units) / np.maximum(chips, 1))


def _joined(found: Sequence[Labelled], left_out: dict[str, int]) -> Labelled:
    some = [one for one in found if len(one)]
    if not some:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DataError(f"no label can be used ({why}): are scenes and labels of the same place?")
    first = np.cumsum([0, *(len(one) for one in some)])
    return Labelled(
        unit_id=np.concatenate([one.unit_id for one in some]),
        damaged=np.concatenate([one.damaged for one in some]),
        random=np.concatenate([one.random for one in some]),
        scene=np.concatenate([one.scene for one in some]),
        scene_sha256=np.concatenate([one.scene_sha256 for one in some]),
        images=tuple(
            np.concatenate(parts) for parts in zip(*(one.images for one in some), strict=True)
        ),
        owner=np.concatenate([one.owner + start for one, start in zip(some, first, strict=False)]),
        ground=np.concatenate([one.ground for one in some]),
        lonlat=np.concatenate([one.lonlat for one in some]),
        left_out=left_out,
    )
