"""Whether the model behind results has learned from the very ground that is asked about."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from damagenet.assessment import Assessment
from damagenet.bundle import model_id, read_card
from damagenet.engine.parts import read_assessment
from damagenet.errors import BundleError
from damagenet.evaluation.seen_ground import learned_tiles


def assessments_beside(path: Path, scenes: Collection[str], model: str) -> list[Assessment]:
    """Return the assessments behind a file of results, where they lie in its folder or one below.

    Args:
        path: The file.
        scenes: File names of the scenes in it.
        model: Name and short hash of the model in it; blank where it does not say.

    Raises:
        OutputError: If an assessment is there and cannot be read.
    """
    folder = path.parent
    # A file may lie among folders of others, which nobody else may enter.
    inside = sorted(
        place for place in folder.iterdir() if place.is_dir() and os.access(place, os.X_OK)
    )
    found = [read_assessment(place) for place in (folder, *inside)]
    return [
        one
        for one in found
        if one is not None
        and one.scene.path.name in scenes
        and (not model or model_id(one.card) == model)
    ]


def ground_learned_from(assessments: Sequence[Assessment]) -> pd.DataFrame | None:
    """Return what the models of assessments have learned from: lon, lat, label, sha256.

    Returns:
        The chips of their bundles and of those that these started from; None where nobody can say,
        as no assessment is there, or a bundle is gone or another by now.
    """
    models = {one.card.weights_sha256: one for one in assessments}
    grounds = [ground for one in models.values() if (ground := _ground(one)) is not None]
    return pd.concat(grounds) if grounds and len(grounds) == len(models) else None


def _ground(assessment: Assessment) -> pd.DataFrame | None:
    bundle = assessment.options.bundle
    try:
        same = read_card(bundle).weights_sha256 == assessment.card.weights_sha256
        return learned_tiles(bundle) if same else None
    except BundleError:
        return None
