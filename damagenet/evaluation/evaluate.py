"""Evaluation by a protocol: of a recipe, one network per fold, or of a bundle as it is."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from damagenet.bundle import Bundle, load_bundle
from damagenet.errors import DataError, LeakError
from damagenet.evaluation.fold_training import FoldCache
from damagenet.evaluation.options import Protocol
from damagenet.evaluation.post_event_scores import Judged, judge_scenes, score_judged
from damagenet.evaluation.protocols import ALL, Fold, make_folds, split_of
from damagenet.evaluation.score_report import EvaluationReport, FoldScores
from damagenet.evaluation.seen_ground import learned_tiles, require_unseen, seen_tiles
from damagenet.evaluation.shortcuts import audit_shortcuts, unseen_rows
from damagenet.evaluation.tile_scores import score_rows, tile_probabilities
from damagenet.inference import Predictor
from damagenet.recipe import Recipe
from damagenet.training.checks import check_recipe
from data_prep.graded import GradedScene, after_name, find_scenes, scene_ground
from data_prep.harvey import HarveyTiles


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
            DataError: If there is no folder of scenes, or it holds none.
        """
        if self.protocol != "post-event":
            return []
        if self.xbd is None:
            raise DataError("post-event needs the folder of xBD scenes: pass --xbd")
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
    folds = make_folds(
        setup.protocol,
        recipe,
        tiles,
        scene_grounds=[scene_ground(scene) for scene in scenes],
        scene_names=[scene.name for scene in scenes if scene.after],
    )
    cache.require_use(folds, tiles)
    if scenes:
        return _report(_score_scenes(folds, scenes, setup, cache, tiles), setup)
    published = setup.protocol == "published"
    scored: list[FoldScores] = []
    for fold in folds:
        bundle = cache.network(fold, tiles)
        if setup.protocol == "shortcuts":
            scored += audit_shortcuts(Predictor(bundle, device=setup.device), tiles, fold.test)
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
        judged = judge_scenes(bundle, scenes, setup.out, device=setup.device)
        return _report(score_judged(judged), setup)
    # Nothing is trained, so that only the tiles that are read count.
    recipe = setup.place(bundle.card.recipe)
    data = recipe.data.model_copy(update={"exclude_ground": (), "limit": None})
    tiles = HarveyTiles.open(recipe.data.path)
    if setup.protocol == "shortcuts":
        seen = seen_tiles(tiles.manifest, learned_tiles(bundle.folder))
        # The tiles that chose the epoch and the threshold are no strangers either.
        seen[split_of(recipe, tiles).validation] = True
        predictor = Predictor(bundle, device=setup.device)
        return _report(audit_shortcuts(predictor, tiles, unseen_rows(tiles, seen)), setup)
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


def _score_scenes(
    folds: list[Fold],
    scenes: list[GradedScene],
    setup: EvaluationSetup,
    cache: FoldCache,
    tiles: HarveyTiles,
) -> list[FoldScores]:
    """Score each fold's network on the scene it was kept from, or on all where there is one."""
    judged: list[Judged] = []
    for fold in folds:
        kept_from = [scene for scene in scenes if fold.name in (ALL, after_name(scene))]
        bundle = cache.network(fold, tiles)
        judged += judge_scenes(bundle, kept_from, setup.out, device=setup.device)
    return score_judged(judged)


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
    return score_rows(bundle, tiles, fold.test, p, fold=fold.name, note=note)


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
