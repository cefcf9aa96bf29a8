"""Scores of one network on the post-event scenes: per scene, over all, and before the storm."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from damagenet.bundle import Bundle
from damagenet.errors import EvaluationError
from damagenet.evaluation.metrics import make_sample, measure
from damagenet.evaluation.post_event import (
    GradedScene,
    GradedUnits,
    comparable,
    judge_scene,
    window_grounds,
)
from damagenet.evaluation.protocols import ALL
from damagenet.evaluation.reliability import reliability_bins
from damagenet.evaluation.score_report import FoldScores
from damagenet.evaluation.scores import score
from damagenet.evaluation.seen_ground import learned_tiles, require_unseen, seen_boxes
from damagenet.inference import Predictor
from data_prep.tile_ground import spatial_blocks

BEFORE_ALL = "all-before-the-storm"


def score_scenes(
    bundle: Bundle, scenes: Sequence[GradedScene], out: Path, *, device: str = "auto"
) -> list[FoldScores]:
    """Score a network on graded scenes with one threshold for all, the bundle's own.

    Args:
        bundle: The network.
        scenes: Scenes after the storm, and before it where there are such; a network that
            compares two pictures is scored on the former alone (`post_event.comparable`).
        out: Gets one folder of assessments per network.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        LeakError: If the network has seen the ground around a building.
        EvaluationError: If no building of a scene could be judged.
        DamageNetError: As assessing does.
    """
    scenes = comparable(scenes, bundle.card)
    boxes = [box for scene in scenes for box in window_grounds(scene, bundle.card.chip)]
    seen = seen_boxes(boxes, learned_tiles(bundle.folder))
    require_unseen(seen, what="xBD buildings, before and after the storm,")
    predictor = Predictor(bundle, device=device)
    out = out / bundle.model_id.replace("@", "-")
    units = [judge_scene(scene, predictor, out) for scene in scenes]
    after = [one for one in units if one.scene.after]
    before = [one for one in units if not one.scene.after]
    folds = [_score_units(bundle, [one], one.scene.name) for one in units]
    folds.append(_score_units(bundle, after, ALL, note=_scene_name_note(after)))
    if before:
        note = "nothing is damaged before the storm"
        folds.append(_score_units(bundle, before, BEFORE_ALL, note=note))
    return folds


def _score_units(
    bundle: Bundle, units: Sequence[GradedUnits], name: str, *, note: str = ""
) -> FoldScores:
    left_out = dict(sum((Counter(one.left_out) for one in units), Counter[str]()))
    frame = _pooled(units)
    if frame.empty:
        raise EvaluationError(f"{name}: no building could be judged ({left_out}); see the scenes")
    threshold = bundle.card.threshold
    return FoldScores(
        fold=name,
        unit="buildings",
        model=bundle.model_id,
        bundle=bundle.folder,
        threshold=threshold,
        scores=score(
            frame["p_damaged"],
            frame["damaged_in_truth"],
            threshold=threshold,
            blocks=spatial_blocks(frame["lon"], frame["lat"]),
            groups=frame["scene"],
        ),
        left_out=left_out,
        reliability=reliability_bins(frame["p_damaged"], frame["damaged_in_truth"]),
        note=note,
    )


def _pooled(units: Sequence[GradedUnits]) -> pd.DataFrame:
    return pd.concat([one.frame.assign(scene=one.scene.name) for one in units])


def _scene_name_note(units: Sequence[GradedUnits]) -> str:
    """Say what knowing the scene alone would score, had AUROC not been kept inside scenes."""
    frame = _pooled(units)
    share = frame.groupby("scene")["damaged_in_truth"].transform("mean")
    flagged = np.ones(len(frame), bool)
    dummy = measure(make_sample(share, frame["damaged_in_truth"], flagged=flagged), "auroc")
    if dummy is None:
        return "AUROC over pairs inside one scene"
    return (
        "AUROC over pairs inside one scene; over pairs across scenes the scene's name alone "
        f"would score {dummy:.2f}"
    )
