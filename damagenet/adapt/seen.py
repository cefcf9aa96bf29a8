"""What the model sees of buildings: how likely damage is, and where they lie among each other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from rasterio.windows import Window

from damagenet.assessment import ROW_COLUMN
from damagenet.calibration import probabilities
from damagenet.engine.assess import piece_maker
from damagenet.engine.before import find_pre, opened_pictures, scene_options
from damagenet.engine.inputs import Inputs
from damagenet.engine.judging import ChipLooks, Columns, owners
from damagenet.engine.option_checks import check_options
from damagenet.engine.pieces import PieceMaker
from damagenet.engine.prefetch import prefetched
from damagenet.engine.work import plan_work
from damagenet.errors import FootprintError
from damagenet.inference import Predictor
from damagenet.labels import Label
from damagenet.options import AssessOptions
from data_prep.footprints import Buildings
from data_prep.scene import Scene
from data_prep.windows import Unit

Progress = Callable[[int, int, int], None]
"""Takes the number of the scene, from 1, its units that were looked at, and all its units."""

KEPT_FIELDS = ("unit_id", "label", "p_damaged", "lon", "lat", "valid_fraction", "scene", "acquired")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The buildings that could be judged, each once, in the order of their file.

    Attributes:
        frame: unit_id, p_damaged, lon, lat, scene (the file whose verdict stands), disagree (one
            scene says damaged, another undamaged) and geometry; N rows, the index is the row in
            the buildings file.
        embeddings: What the network's head sees of the chip that decides, float32 (N, F).
    """

    frame: GeoDataFrame
    embeddings: NDArray[np.float32]


def see_buildings(
    scenes: Sequence[Path],
    buildings: Buildings,
    options: AssessOptions,
    predictor: Predictor,
    progress: Progress | None = None,
) -> Seen:
    """Look at buildings as `damagenet assess` does, on one scene or on several.

    Where several scenes show a building, the verdict with the most usable pixels stands, then the
    latest, then the scene named first, as in the table of a run; that they contradict each other
    is kept in `disagree`.

    Args:
        scenes: Their files.
        buildings: The buildings.
        options: How they are looked at.
        predictor: The model.
        progress: Called after each piece of a scene.

    Raises:
        SceneError: If a scene cannot be read.
        FootprintError: If no building lies on the scenes, or none there can be judged.
    """
    looks = [
        _see_scene(path, buildings, options, predictor, _numbered(progress, number))
        for number, path in enumerate(scenes, start=1)
    ]
    shown = sum(look.touching for look in looks)
    names = ", ".join(path.name for path in scenes)
    if not shown:
        raise FootprintError(
            f"none of the {len(buildings.frame)} buildings in {buildings.path} lies on {names}: "
            "name a scene of the same place"
        )
    records = pd.concat([look.records for look in looks], ignore_index=True)
    if not len(records):
        raise FootprintError(
            f"none of the {shown} buildings on {names} can be judged, they lie at its edge, under "
            "cloud or without imagery: name a scene that shows them"
        )
    return _once(records, np.concatenate([look.embeddings for look in looks]), buildings)


def _once(records: pd.DataFrame, embeddings: NDArray[np.float32], buildings: Buildings) -> Seen:
    ordered = records.sort_values(["valid_fraction", "acquired"], ascending=False, kind="stable")
    best = ordered.drop_duplicates(ROW_COLUMN).sort_values(ROW_COLUMN)
    firm = records[records["label"].isin([Label.DAMAGED.value, Label.UNDAMAGED.value])]
    differ = firm.groupby(ROW_COLUMN)["label"].nunique() > 1
    rows = best[ROW_COLUMN].to_numpy()
    frame = buildings.frame.loc[rows, ["geometry"]].assign(
        **{name: best[name].to_numpy() for name in ("unit_id", "p_damaged", "lon", "lat", "scene")},
        disagree=differ.reindex(rows, fill_value=False).to_numpy(dtype=bool),
    )
    return Seen(frame=frame, embeddings=embeddings[best.index.to_numpy()])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one scene shows: N judged buildings, of all that touch it."""

    records: pd.DataFrame
    embeddings: NDArray[np.float32]
    touching: int


def _numbered(progress: Progress | None, number: int) -> Callable[[int, int], None]:
    return (lambda done, units: None) if progress is None else partial(progress, number)


def _see_scene(
    path: Path,
    buildings: Buildings,
    options: AssessOptions,
    predictor: Predictor,
    tell: Callable[[int, int], None],
) -> _Look:
    card = predictor.bundle.card
    check_options(options, card)
    with Scene.open(path, scene_options(options, card)) as scene:
        inputs = Inputs(buildings=buildings)
        work = plan_work(scene, card.chip, options, buildings)
        with opened_pictures(scene, options, card, find_pre(scene, options)) as seen:
            maker = piece_maker(seen, work, options, predictor, inputs)
            pieces, units = [], sum(work.sizes)
            for piece in range(len(work.sizes)):
                pieces.append(_see_piece(maker, piece))
                tell(sum(work.sizes[: piece + 1]), units)
    return _Look(
        records=pd.concat([records for records, _ in pieces], ignore_index=True),
        embeddings=np.concatenate([embeddings for _, embeddings in pieces]),
        touching=units,
    )


def _see_piece(maker: PieceMaker, piece: int) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    units = maker.work.units(piece)
    looks, embeddings = _see_chips(maker, units)
    records = maker.judge.records(units, looks)
    judged = np.flatnonzero(~np.isnan(records["p_damaged"]))
    chips = _deciding_chips(looks.probability, owners(units), len(units))[judged]
    # Embeddings are held of judged chips alone.
    held = np.cumsum(~np.isnan(looks.probability)) - 1
    return _table(records, units).iloc[judged], embeddings[held[chips]]


def _see_chips(maker: PieceMaker, units: Sequence[Unit]) -> tuple[ChipLooks, NDArray[np.float32]]:
    """Return what is seen in all chips of units, and the embeddings of those that are judged."""
    predictor = maker.predictor
    looks = [ChipLooks.nothing()]
    embeddings = [np.empty((0, predictor.features), np.float32)]
    with closing(prefetched(maker.read, _batches(units, predictor.batch_size))) as reads:
        for read in reads:
            found = predictor.embeddings(read.images)
            logits = predictor.head_logits(found)
            probability = np.full(len(read.judged), np.nan)
            probability[read.judged] = probabilities(logits, predictor.bundle.card.calibration)
            embeddings.append(found)
            looks.append(
                ChipLooks(
                    shown=read.shown,
                    imagery=read.imagery,
                    usable=read.usable,
                    probability=probability,
                    distance=np.full(len(read.judged), np.nan),
                )
            )
    return ChipLooks.joined(looks), np.concatenate(embeddings)


def _batches(units: Sequence[Unit], size: int) -> Iterator[list[Window]]:
    windows = [window for unit in units for window in unit.windows]
    return (windows[start : start + size] for start in range(0, len(windows), size))


def _deciding_chips(
    probability: NDArray[np.float64], owner: NDArray[np.int64], units: int
) -> NDArray[np.int64]:
    """Return the chip with the largest probability of each unit; 0 for a unit without a chip."""
    order = np.lexsort((-np.nan_to_num(probability, nan=-1.0), owner))
    chips = np.zeros(units, dtype=np.int64)
    # Written from the last to the first, so that the largest of each unit stays.
    chips[owner[order[::-1]]] = order[::-1]
    return chips


def _table(records: Columns, units: Sequence[Unit]) -> pd.DataFrame:
    own = {name: records[name] for name in KEPT_FIELDS}
    return pd.DataFrame({ROW_COLUMN: [unit.row for unit in units], **own})
