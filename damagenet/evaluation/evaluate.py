"""Evaluation by a protocol: of a recipe, one network per fold, or of a bundle as it is."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from damagenet.bundle import Bundle, load_bundle
from damagenet.errors import ConfigError, LeakError
from damagenet.evaluation.fold_training import FoldCache
from damagenet.evaluation.options import Protocol
from damagenet.evaluation.post_event import GradedScene, find_scenes, scene_ground
from damagenet.evaluation.post_event_scores import score_scenes
from damagenet.evaluation.protocols import Fold, make_folds
from damagenet.evaluation.reliability import reliability_bins
from damagenet.evaluation.score_report import EvaluationReport, FoldScores
from damagenet.evaluation.scores import score
from damagenet.evaluation.seen_ground import learned_tiles, require_unseen, seen_tiles
from damagenet.inference import Predictor
from damagenet.recipe import Recipe
from damagenet.training.checks import check_recipe
from data_prep.harvey import HarveyTiles
from data_prep.tile_ground import spatial_blocks

CHIPS_AT_ONCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSetup:
    """By what protocol to score, where its data lies, and where to write.

    Attributes:
        protocol: The protocol.
        data: Prepared Harvey tiles; None takes the recipe's own path.
        xbd: Folder of xBD scenes; needed by post-event only.
        out: Gets assessments of scenes.
        device: auto, cpu, cuda or cuda:N.
        command: Written into the report.
    """

    protocol: Protocol
    data: Path | None
    xbd: Path | None
    out: Path
    device: str = "auto"
    command: str = ""

    def scenes(self) -> list[GradedScene]:
        """Return the scenes that the protocol reads; none unless it is post-event.

        Raises:
            ConfigError: If post-event has no folder of scenes.
            DataError: If the folder holds none.
        """
        if self.protocol != "post-event":
            return []
        if self.xbd is None:
            raise ConfigError("post-event needs the folder of xBD scenes: pass --xbd")
        return find_scenes(self.xbd)

    def place(self, recipe: Recipe) -> Recipe:
        """Return a recipe that reads its tiles where they lie."""
        if self.data is None:
            return recipe
        data = recipe.data.model_copy(update={"path": self.data})
        return recipe.model_copy(update={"data": data})


def evaluate_recipe(recipe: Recipe, setup: EvaluationSetup, cache: FoldCache) -> EvaluationReport:
    """Train one network per fold, unless the cache has it, and score each on what it left out.

    Raises:
        DamageNetError: As training and assessing do; LeakError if a network has seen the ground.
    """
    check_recipe(recipe)
    scenes = setup.scenes()
    recipe = setup.place(recipe)
    tiles = HarveyTiles.open(recipe.data.path)
    outside = [scene_ground(scene) for scene in scenes]
    folds = make_folds(setup.protocol, recipe, tiles, scene_grounds=outside)
    cache.require_use(folds, tiles)
    published = setup.protocol == "published"
    scored: list[FoldScores] = []
    for fold in folds:
        bundle = cache.network(fold, tiles)
        if scenes:
            scored += score_scenes(bundle, scenes, setup.out, device=setup.device)
        else:
            scored.append(_score_tiles(bundle, fold, tiles, setup, leaks=published))
    return _report(scored, setup)


def evaluate_bundle(model: str, setup: EvaluationSetup) -> EvaluationReport:
    """Score a bundle on the folds of a protocol whose ground it has not seen.

    Args:
        model: A shipped name or a folder.
        setup: The protocol, and where its data lies.

    Raises:
        LeakError: If the bundle has seen ground of every fold; the count is named.
        DamageNetError: As assessing does.
    """
    bundle = load_bundle(model)
    if scenes := setup.scenes():
        return _report(score_scenes(bundle, scenes, setup.out, device=setup.device), setup)
    # Nothing is trained, so that only the tiles that are read count.
    recipe = setup.place(bundle.card.recipe)
    data = recipe.data.model_copy(update={"exclude_ground": (), "limit": None})
    tiles = HarveyTiles.open(recipe.data.path)
    folds = make_folds(setup.protocol, recipe.model_copy(update={"data": data}), tiles)
    scored: list[FoldScores] = []
    refused: dict[str, LeakError] = {}
    for fold in folds:
        try:
            scored.append(_score_tiles(bundle, fold, tiles, setup, leaks=False))
        except LeakError as err:
            refused[fold.name] = err
    if not scored:
        raise refused[folds[0].name]
    return _report(scored, setup, {name: str(err) for name, err in refused.items()})


def _score_tiles(
    bundle: Bundle, fold: Fold, tiles: HarveyTiles, setup: EvaluationSetup, *, leaks: bool
) -> FoldScores:
    """Score the tiles that a fold holds out; with `leaks`, seen ground is counted, not refused."""
    rows = tiles.manifest.iloc[fold.test]
    seen = seen_tiles(rows, learned_tiles(bundle.folder))
    if not leaks:
        require_unseen(seen, what="evaluation tiles")
    note = f"{int(seen.sum())} of {seen.size} tiles share ground with training" if leaks else ""
    p = tile_probabilities(Predictor(bundle, device=setup.device), tiles, fold.test)
    labels = tiles.labels[fold.test]
    threshold = bundle.card.threshold
    blocks = spatial_blocks(rows["lon"], rows["lat"])
    return FoldScores(
        fold=fold.name,
        unit="tiles",
        model=bundle.model_id,
        bundle=bundle.folder,
        threshold=threshold,
        scores=score(p, labels, threshold=threshold, blocks=blocks),
        reliability=reliability_bins(p, labels),
        note=note,
    )


def tile_probabilities(
    predictor: Predictor, tiles: HarveyTiles, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the calibrated probability of damage of tiles, float64 (N,).

    Args:
        predictor: The model, on its device.
        tiles: The prepared data set.
        rows: Row numbers of the manifest (N,).
    """
    runs = [rows[start : start + CHIPS_AT_ONCE] for start in range(0, rows.size, CHIPS_AT_ONCE)]
    chips = (np.ascontiguousarray(tiles.pixels[run].transpose(0, 3, 1, 2)) for run in runs)
    return np.concatenate([predictor.probabilities((chip,)) for chip in chips]).astype(np.float64)


def _report(
    folds: list[FoldScores], setup: EvaluationSetup, not_scored: dict[str, str] | None = None
) -> EvaluationReport:
    return EvaluationReport(
        protocol=setup.protocol,
        folds=tuple(folds),
        not_scored=not_scored or {},
        command=setup.command,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
