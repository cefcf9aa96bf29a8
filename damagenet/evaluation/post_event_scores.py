"""Scores of one network on the post-event scenes: per scene, over all, and before the storm."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from damagenet.bundle import Bundle
from damagenet.errors import EvaluationError
from damagenet.evaluation.metrics import make_sample, measure
from damagenet.evaluation.post_event import (
    GradedUnits,
    comparable,
    judge_scene,
    window_grounds,
)
from damagenet.evaluation.protocols import ALL
from damagenet.evaluation.reliability import reliability_bins
from damagenet.evaluation.score_report import FoldScores
from damagenet.evaluation.scores import score_sample
from damagenet.evaluation.seen_ground import learned_tiles, require_unseen, seen_boxes
from damagenet.inference import Predictor
from data_prep.graded import GradedScene
from data_prep.tile_ground import spatial_blocks

BEFORE_ALL = "all-before-the-storm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The buildings of one scene as one network sees them.

    Attributes:
        units: Probabilities and truth.
        bundle: The network.
    """

    units: GradedUnits
    bundle: Bundle

    @property
    def frame(self) -> pd.DataFrame:
        """The buildings, with the scene's name and the verdict by the network's threshold."""
        frame = self.units.frame
        flagged = frame["p_damaged"] >= self.bundle.card.threshold
        return frame.assign(scene=self.units.scene.name, flagged=flagged)


def judge_scenes(
    bundle: Bundle, scenes: Sequence[GradedScene], out: Path, *, device: str = "auto"
) -> list[Judged]:
    """Let a network judge graded scenes that it has not seen.

    Args:
        bundle: The network.
        scenes: Scenes after the storm, and before it where there are such; a network that
            compares two pictures is scored on the former alone (`post_event.comparable`).
        out: Gets one folder of assessments per network.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        LeakError: If the network has seen the ground around a building.
        DamageNetError: As assessing does.
    """
    scenes = comparable(scenes, bundle.card)
    boxes = [box for scene in scenes for box in window_grounds(scene, bundle.card.chip)]
    seen = seen_boxes(boxes, learned_tiles(bundle.folder))
    require_unseen(seen, what="xBD buildings, before and after the storm,")
    predictor = Predictor(bundle, device=device)
    out = out / bundle.model_id.replace("@", "-")
    return [Judged(units=judge_scene(scene, predictor, out), bundle=bundle) for scene in scenes]


def score_judged(judged: Sequence[Judged]) -> list[FoldScores]:
    """Score what one network, or several, said: per scene, over all, and before the storm.

    Each network has one threshold for all scenes that it judges, its own.

    Raises:
        EvaluationError: If no building of a scene could be judged.
    """
    after = [one for one in judged if one.units.scene.after]
    before = [one for one in judged if not one.units.scene.after]
    folds = [_score([one], one.units.scene.name) for one in (*after, *before)]
    folds.append(_score(after, ALL, note=_scene_name_note(after)))
    if before:
        note = "nothing is damaged before the storm"
        folds.append(_score(before, BEFORE_ALL, note=note))
    return folds


def _score(judged: Sequence[Judged], name: str, *, note: str = "") -> FoldScores:
    left_out = dict(sum((Counter(one.units.left_out) for one in judged), Counter[str]()))
    frame = pd.concat([one.frame for one in judged])
    if frame.empty:
        raise EvaluationError(f"{name}: no building could be judged ({left_out}); see the scenes")
    bundles = {one.bundle.model_id: one.bundle for one in judged}
    alone = next(iter(bundles.values())) if len(bundles) == 1 else None
    sample = make_sample(
        frame["p_damaged"],
        frame["damaged_in_truth"],
        flagged=frame["flagged"],
        blocks=spatial_blocks(frame["lon"], frame["lat"]),
        groups=frame["scene"],
    )
    return FoldScores(
        fold=name,
        unit="buildings",
        model=alone.model_id if alone else f"{len(bundles)} networks, one for each scene",
        bundle=alone.folder if alone else None,
        threshold=alone.card.threshold if alone else None,
        scores=score_sample(sample),
        left_out=left_out,
        reliability=reliability_bins(frame["p_damaged"], frame["damaged_in_truth"]),
        note=note,
    )


def _scene_name_note(judged: Sequence[Judged]) -> str:
    """Say what knowing the scene alone would score, had AUROC not been kept inside scenes."""
    frame = pd.concat([one.frame for one in judged])
    share = frame.groupby("scene")["damaged_in_truth"].transform("mean")
    flagged = np.ones(len(frame), bool)
    dummy = measure(make_sample(share, frame["damaged_in_truth"], flagged=flagged), "auroc")
    if dummy is None:
        return "AUROC over pairs inside one scene"
    return (
        "AUROC over pairs inside one scene; over pairs across scenes the scene's name alone "
        f"would score {dummy:.2f}"
    )
