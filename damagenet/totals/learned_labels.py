"""Labels that the model was adapted to: of those its verdicts say more than of other units."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from damagenet.evaluation.learned_from import ground_learned_from
from damagenet.evaluation.truth import NEAREST_M
from damagenet.totals.labels import Labels
from damagenet.totals.verdicts import Verdicts
from data_prep.tile_ground import METRES_PER_DEGREE


def count_learned(verdicts: Verdicts, labels: Labels) -> int:
    """Return how many of the labelled units the model may have been adapted to.

    Only an adaptation is asked for. What else a model learned from was there before the labels
    were drawn, so that units with a label and those without are known to it alike.

    Returns:
        Units as near to a chip that it was fitted to as labels are joined; where its bundle is not
        found, all labelled units of the scenes that it was adapted to.
    """
    card, units = verdicts.card, verdicts.units
    if card is None or card.event is None:
        return 0
    learned = ground_learned_from(verdicts.assessments)
    if learned is None:
        scenes = units["scene"].map(lambda name: Path(name).stem)
        return int((labels.known & scenes.isin(card.event.scenes).to_numpy()).sum())
    places = units[["lon", "lat"]].to_numpy(np.float64)[labels.known]
    return int(_near(places, learned).sum())


def _near(places: npt.NDArray[np.float64], learned: pd.DataFrame) -> npt.NDArray[np.bool_]:
    known = np.isfinite(places).all(axis=1)
    near = np.zeros(len(places), bool)
    if known.any() and len(learned):
        scale = np.array([np.cos(np.radians(places[known, 1].mean())), 1.0]) * METRES_PER_DEGREE
        tree = cKDTree(learned[["lon", "lat"]].to_numpy(np.float64) * scale)
        near[known] = tree.query(places[known] * scale)[0] <= NEAREST_M
    return near
