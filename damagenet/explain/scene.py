"""One scene to its maps: a raster for each method, and pictures of the first units."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from damagenet.engine.assess import piece_maker
from damagenet.engine.before import find_pre, opened_pictures, scene_options
from damagenet.engine.inputs import Inputs
from damagenet.engine.judging import ChipLooks
from damagenet.engine.option_checks import check_options
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.work import Work, cut_pieces, plan_work
from damagenet.errors import ConfigError, SceneError
from damagenet.explain.explainer import Explainer, Explanation
from damagenet.explain.methods import METHODS
from damagenet.explain.mosaic import Mosaic, opened_mosaic
from damagenet.explain.names import MethodName
from damagenet.explain.options import ExplainOptions
from damagenet.explain.picture import Colours
from damagenet.explain.shown import Look, Shown, keep_pictures, method_texts, rest_share
from damagenet.inference import Images, Predictor
from data_prep.footprints import Buildings
from data_prep.scene import Scene
from data_prep.windows import Unit

Progress = Callable[[int, int], None]
"""Takes units that were looked at, and all of the scene."""

BANDS = {"post": "after the storm", "pre": "before the storm"}
NOT_NAMED = 4
"""Ids that are named where some are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneMaps:
    """What was written of one scene.

    Attributes:
        scene: Its file.
        folder: Where the rest lies.
        rasters: By method.
        shown: The units with pictures.
        units: Units that were explained.
        left_out: Units that could not be judged, and so not explained.
        rest: Largest share of a promised sum that is missing, by method; those that promise none
            are left out.
        warnings: What must be said of the scene.
    """

    scene: Path
    folder: Path
    rasters: Mapping[MethodName, Path]
    shown: tuple[Shown, ...]
    units: int
    left_out: int
    rest: Mapping[MethodName, float]
    warnings: tuple[str, ...]


def explain_scene(
    path: Path,
    folder: Path,
    options: ExplainOptions,
    explainer: Explainer,
    predictor: Predictor,
    *,
    buildings: Buildings | None = None,
    progress: Progress | None = None,
) -> SceneMaps:
    """Explain the units of a scene, and lay the maps of their chips on its grid.

    Units are those of `damagenet assess`, and judged as there: what it does not judge has no map.
    Where chips overlap a pixel is the mean over them.

    Args:
        path: The scene.
        folder: Of the maps and pictures.
        options: Which units, and how the scene is read.
        explainer: Of the model.
        predictor: Of the same model.
        buildings: The units; without them, the cells of a grid.
        progress: Called after every batch.

    Raises:
        ConfigError: If the options ask for what the model cannot do, or name units that are not
            there.
        SceneError: If the scene cannot be read, or none of its units can be judged.
        OutputError: If the maps cannot be written; then none is.
    """
    looking, card = options.looking, explainer.bundle.card
    check_options(looking, card)
    with Scene.open(path, scene_options(looking, card)) as scene, ExitStack() as stack:
        work = plan_work(scene, card.chip, looking, buildings)
        pre = find_pre(scene, looking)
        seen = stack.enter_context(opened_pictures(scene, looking, card, pre))
        maker = piece_maker(seen, work, looking, predictor, Inputs(buildings=buildings))
        rasters = {method: folder / f"explain_{method}.tif" for method in explainer.methods}
        mosaics = {
            method: stack.enter_context(_mosaic(raster, scene, explainer, method))
            for method, raster in rasters.items()
        }
        looker = _Looker(maker=maker, explainer=explainer, mosaics=mosaics, options=options)
        looker.look_at(_wanted(work, options), folder, sum(work.sizes), progress)
        if not looker.units:
            raise SceneError(
                f"nothing to explain on {path}: of {looker.left_out:,} units there none could be "
                "judged; check the picture and --buildings"
            )
        return SceneMaps(
            scene=path,
            folder=folder,
            rasters=rasters,
            shown=tuple(looker.shown),
            units=looker.units,
            left_out=looker.left_out,
            rest=looker.rest,
            warnings=(*scene.warnings, *seen.warnings),
        )


def _mosaic(
    raster: Path, scene: Scene, explainer: Explainer, method: MethodName
) -> AbstractContextManager[Mosaic]:
    row = METHODS[method]
    bands = [f"{row.title}, {BANDS[name]}, {row.unit}" for name in explainer.bundle.card.inputs]
    colours = Colours(signed=row.signed, target=explainer.target)
    return opened_mosaic(raster, scene, bands, colours, method_texts(explainer, method))


@dataclass(slots=True, kw_only=True)
class _Looker:
    """Explains units, run by run, so that memory does not grow with the scene."""

    maker: PieceMaker
    explainer: Explainer
    mosaics: Mapping[MethodName, Mosaic]
    options: ExplainOptions
    shown: list[Shown] = field(default_factory=list)
    units: int = 0
    left_out: int = 0
    rest: dict[MethodName, float] = field(default_factory=dict)

    def look_at(
        self, units: Iterator[Unit], folder: Path, total: int, progress: Progress | None
    ) -> None:
        """Explain all units and write the pictures of the first ones."""
        size = self.maker.predictor.batch_size
        while some := list(islice(units, min(size, self._room))):
            for run in cut_pieces(some, size):
                self._look_at_run(run, folder)
            if progress is not None:
                progress(self.units + self.left_out, total)

    @property
    def _room(self) -> int:
        """How many more units are to be explained."""
        limit = self.options.limit
        return sys.maxsize if limit is None else limit - self.units

    def _look_at_run(self, units: Sequence[Unit], folder: Path) -> None:
        owners = [number for number, unit in enumerate(units) for _ in unit.windows]
        windows = [window for unit in units for window in unit.windows]
        size = self.maker.predictor.batch_size
        looks, best = [ChipLooks.nothing()], dict[int, Look]()
        for start in range(0, len(windows), size):
            part = slice(start, start + size)
            looks.append(self._look(windows[part], owners[part], best))
        records = self.maker.judge.records(units, ChipLooks.joined(looks))
        for number, unit in enumerate(units):
            if number not in best:
                self.left_out += 1
                continue
            self.units += 1
            if len(self.shown) < self.options.pictures:
                self.shown.append(
                    keep_pictures(
                        best[number],
                        self.explainer,
                        unit_id=unit.unit_id,
                        label=str(records["label"][number]),
                        name=f"{len(self.shown):04d}",
                        folder=folder,
                    )
                )

    def _look(
        self, windows: Sequence[Window], owners: Sequence[int], best: dict[int, Look]
    ) -> ChipLooks:
        """Explain a batch of chips, and keep the one of each unit that decides its verdict."""
        read = self.maker.read(windows)
        probability = np.full(len(windows), np.nan)
        judged = np.flatnonzero(read.judged)
        if len(judged):
            probability[judged] = self.maker.predictor.probabilities(read.images)
            found = {name: self._explained(name, read.images) for name in self.mosaics}
            # What no picture shows is zero in all bands.
            ground = np.asarray(read.images[0].any(axis=1))
            for place, chip in enumerate(judged.tolist()):
                for name, mosaic in self.mosaics.items():
                    maps = [one[place] for one in found[name].maps]
                    mosaic.add(windows[chip], maps, ground[place])
                known = best.get(owners[chip])
                if known is None or probability[chip] > known.probability:
                    best[owners[chip]] = _look_of(place, probability[chip], read.images, found)
        return ChipLooks(
            shown=read.shown,
            imagery=read.imagery,
            usable=read.usable,
            probability=probability,
            distance=np.full(len(windows), np.nan),
        )

    def _explained(self, method: MethodName, images: tuple[Images, ...]) -> Explanation:
        found = self.explainer.explain(method, images)
        share = rest_share(found)
        if share is not None:
            self.rest[method] = max(self.rest.get(method, 0.0), float(share.max()))
        return found


def _look_of(
    place: int,
    probability: float,
    images: tuple[Images, ...],
    found: Mapping[MethodName, Explanation],
) -> Look:
    return Look(
        probability=float(probability),
        images=tuple(image[place] for image in images),
        found={name: one.only(place) for name, one in found.items()},
    )


def _wanted(work: Work, options: ExplainOptions) -> Iterator[Unit]:
    """Yield the units that were asked for, in order.

    Raises:
        ConfigError: At the end, if some that were named are not there.
    """
    names = set(options.units)
    for piece in range(len(work.sizes)):
        for unit in work.units(piece):
            if names and unit.unit_id not in names:
                continue
            names.discard(unit.unit_id)
            yield unit
            if options.units and not names:
                return
    if names:
        raise ConfigError(
            f"units: {', '.join(sorted(names)[:NOT_NAMED])} {'is' if len(names) == 1 else 'are'} "
            "not on this scene: take ids as in the results of `damagenet assess`"
        )
