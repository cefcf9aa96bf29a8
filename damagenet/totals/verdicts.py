"""The verdicts that are counted: one model's, with its card and the reports that tell of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from damagenet.assessment import Assessment
from damagenet.card import Card
from damagenet.errors import EvaluationError
from damagenet.evaluation.learned_from import assessments_beside
from damagenet.evaluation.results import read_results, results_file
from damagenet.options import AssessOptions
from damagenet.rules import Rules

NEVER = 2.0
"""A threshold that no probability reaches, for results without a card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The verdicts of a run or a scene, each unit once.

    Attributes:
        units: As `read_results` returns them.
        folder: Folder of the run or scene.
        path: The file that was read.
        model: Name and short hash of the model; blank where the file does not say.
        kind: building or cell.
        assessments: The assessments behind them, where they lie in the folder.
    """

    units: pd.DataFrame
    folder: Path
    path: Path
    model: str
    kind: str
    assessments: tuple[Assessment, ...]

    @property
    def card(self) -> Card | None:
        """The model's card, where an assessment keeps it."""
        return self.assessments[0].card if self.assessments else None

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """The probability from which the card's rates call each unit damaged.

        It moves with `--prior`, and not with `--threshold`; without a card nothing is called.
        """
        own = {one.scene.path.name: _card_threshold(one) for one in self.assessments}
        usual = next(iter(own.values()), NEVER)
        return np.array([own.get(scene, usual) for scene in self.units["scene"]], np.float64)


def _card_threshold(assessment: Assessment) -> float:
    at_prior = AssessOptions(prior=assessment.options.prior)
    return Rules.of(assessment.card, at_prior).threshold


def read_verdicts(results: Path) -> Verdicts:
    """Read the verdicts of a run's folder, a scene's folder or a `damage.*` file.

    Raises:
        EvaluationError: If there are none, or several models made them.
        OutputError: If an assessment beside them cannot be read.
    """
    path = results_file(results)
    units = read_results(results)
    models = sorted({model for model in units["model"] if model})
    if len(models) > 1:
        raise EvaluationError(
            f"{path} holds verdicts of {len(models)} models ({', '.join(models)}), which err "
            "differently: summarise each scene's folder by itself"
        )
    model = models[0] if models else ""
    kinds = sorted({kind for kind in units["kind"] if kind})
    return Verdicts(
        units=units,
        folder=path.parent,
        path=path,
        model=model,
        kind=kinds[0] if len(kinds) == 1 else "building",
        assessments=tuple(assessments_beside(path, set(units["scene"]), model)),
    )
