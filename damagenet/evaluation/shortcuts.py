"""The shortcut audit: what a network still scores when the damage itself cannot be seen.

A network that has learned damage falls to chance on chips of which only the colours are left, keeps
its score when the colours of the classes change places, and tells a damaged house after the storm
from the same house before it no better than from another house.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from damagenet.errors import EvaluationError
from damagenet.evaluation.score_report import FoldScores
from damagenet.evaluation.tile_scores import score_rows, tile_probabilities
from damagenet.inference import Predictor
from data_prep.acquisitions import coordinate_key
from data_prep.chip_views import Chips, blurred, recoloured, shuffled
from data_prep.drafts import two_class_groups
from data_prep.harvey import HarveyTiles

Rows = npt.NDArray[np.int64]

AS_THEY_ARE = "as they are"
SHUFFLED, RECOLOURED, BLURRED = "pixels shuffled", "colours of the other class", "blurred"
TWINS = "before and after, one house"
BLUR_PX = 2.0
"""About a metre on the ground: roofs stay, what lies on them and the grain of water do not."""

NOTES = {
    SHUFFLED: "only the colours are left: a balanced accuracy near 50 % is good",
    RECOLOURED: "mean and contrast of each band are those of a tile of the other class: what the "
    "score loses here it owes to radiometry, which differs by date",
    BLURRED: f"a Gaussian of {BLUR_PX:g} px: what the score loses here it owes to fine structure, "
    "which a sharper or a softer picture changes too",
    TWINS: "damaged tiles and the same houses before the storm: the date tells these apart as "
    "well as the damage does, so that a good score here alone says little",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """Random numbers of an audit, the same in every run.

    Attributes:
        rng: For the order of pixels.
        partner: For each row a row of the other class, of the same length.
    """

    rng: np.random.Generator
    partner: Rows


def audit_shortcuts(predictor: Predictor, tiles: HarveyTiles, rows: Rows) -> list[FoldScores]:
    """Score one network on the same tiles as they are, changed, by twins and by satellite pass.

    Args:
        predictor: The network, on its device.
        tiles: The prepared data set.
        rows: Tiles that the network has not seen, row numbers of the manifest (N,).

    Raises:
        EvaluationError: If a class is missing among the tiles.
    """
    labels = tiles.labels[rows]
    if len(np.unique(labels)) < 2:
        raise EvaluationError("the audit needs tiles of both classes that the network has not seen")
    drawn = _Drawn(rng=np.random.default_rng(0), partner=_partners(rows, labels))
    p = tile_probabilities(predictor, tiles, rows)
    scored = [score_rows(predictor.bundle, tiles, rows, p, fold=AS_THEY_ARE)]
    for name, view in _views(tiles, rows, drawn).items():
        changed = tile_probabilities(predictor, tiles, rows, view=view)
        scored.append(
            score_rows(predictor.bundle, tiles, rows, changed, fold=name, note=NOTES[name])
        )
    return [*scored, *_twins(predictor, tiles, rows), *_passes(predictor, tiles, rows, p)]


def unseen_rows(tiles: HarveyTiles, seen: npt.NDArray[np.bool_]) -> Rows:
    """Return the distinct tiles that a network has not seen, int64 ascending.

    Args:
        tiles: The prepared data set of M tiles.
        seen: Where the network knows the ground, bool (M,).
    """
    distinct = (tiles.manifest["duplicate_of"] == "").to_numpy()
    return np.flatnonzero(distinct & ~seen).astype(np.int64)


def _partners(rows: Rows, labels: npt.NDArray[np.integer]) -> Rows:
    rng = np.random.default_rng(1)
    partner = np.empty_like(rows)
    for label in (0, 1):
        others = rows[labels != label]
        mine = labels == label
        partner[mine] = rng.choice(others, int(mine.sum()))
    return partner


View = Callable[[Chips, slice], Chips]
"""Takes chips uint8 (n, 3, S, S) and where they stand among all; returns them changed."""


def _views(tiles: HarveyTiles, rows: Rows, drawn: _Drawn) -> dict[str, View]:
    def of_other_class(chips: Chips, run: slice) -> Chips:
        pixels = tiles.pixels[drawn.partner[run]].transpose(0, 3, 1, 2)
        return recoloured(chips, pixels)

    return {
        SHUFFLED: lambda chips, _: shuffled(chips, drawn.rng),
        RECOLOURED: of_other_class,
        BLURRED: lambda chips, _: blurred(chips, sigma_px=BLUR_PX),
    }


def _twins(predictor: Predictor, tiles: HarveyTiles, rows: Rows) -> Iterator[FoldScores]:
    """Score damaged tiles beside the same houses before the storm, where there are such."""
    manifest = tiles.manifest
    before = manifest[(manifest["label"] == 0) & (manifest["duplicate_of"] == "")]
    by_place = dict(
        zip(map(coordinate_key, before["lon"], before["lat"]), before.index, strict=True)
    )
    damaged = manifest.iloc[rows][tiles.labels[rows] == 1]
    keys = list(map(coordinate_key, damaged["lon"], damaged["lat"]))
    pairs = [
        (row, by_place[key])
        for row, key in zip(damaged.index, keys, strict=True)
        if key in by_place
    ]
    if not pairs:
        return
    both = np.array(pairs, dtype=np.int64).T.ravel()
    p = tile_probabilities(predictor, tiles, both)
    yield score_rows(predictor.bundle, tiles, both, p, fold=TWINS, note=NOTES[TWINS])


def _passes(
    predictor: Predictor, tiles: HarveyTiles, rows: Rows, p: npt.NDArray[np.float64]
) -> Iterator[FoldScores]:
    """Score each satellite pass that holds both classes among the tiles."""
    own = tiles.manifest.iloc[rows]
    for name in two_class_groups(own, "acquisition"):
        mine = (own["acquisition"] == name).to_numpy()
        yield score_rows(predictor.bundle, tiles, rows[mine], p[mine], fold=f"pass {name}")
