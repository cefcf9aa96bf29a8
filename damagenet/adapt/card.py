"""The card of an adapted bundle, and the list of the ground that it learned from."""

import datetime as dt
import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from damagenet import __version__
from damagenet.adapt.dividing import Divided
from damagenet.adapt.labelled import Labelled
from damagenet.adapt.report import AdaptReport, Comparison
from damagenet.bundle import MANIFEST_COLUMNS, Bundle
from damagenet.calibration import (
    ERROR_OUTSIDE_BAND,
    even_threshold,
    fit_calibration,
    probabilities,
    uncertain_band,
)
from damagenet.card import ASIDE, Card, Event, Score
from damagenet.confidence import confidence_curve
from damagenet.confidence import logits as log_odds
from damagenet.rules import reweighted

TILES = "base tiles"
KEPT = ("recall", "false_alarm_rate", "balanced_accuracy", "auroc")
BEFORE_ADAPTATION = "measured before the adaptation"

Floats = npt.NDArray[np.float64]


def draft_card(base: Bundle, name: str, event: Event, *, logits: Floats, divided: Divided) -> Card:
    """Return the card of an adapted network without scores and hashes.

    Outside the uncertain band half as many verdicts are wrong as without it: 2 %, as elsewhere, is
    beyond a model that saw a few hundred labels, and its band would hold nearly everything.

    Args:
        base: What it was adapted from.
        name: Name of the new bundle.
        event: Which labels it learned from.
        logits: Of the labels aside (N,).
        divided: The labels.
    """
    aside, prior = divided.aside, divided.prior
    labels = aside.damaged.astype(np.int64)
    drawn = "drawn at random" if event.random else "not all drawn at random"
    told = f"{len(labels)} labels of {', '.join(event.scenes)} kept aside, {drawn}"
    calibration = fit_calibration(logits, labels, fitted_on=told, shrink=True)
    # The share of all random labels is nearer to the truth than that of those aside alone.
    shift = float(log_odds(prior) - log_odds(float(labels.mean())))
    calibration = reweighted(calibration, shift, prior)
    p = probabilities(logits, calibration)
    threshold = even_threshold(logits, labels, calibration)
    error = max(ERROR_OUTSIDE_BAND, np.mean((p >= threshold) != aside.damaged) / 2)
    return base.card.model_copy(
        update={
            "name": name,
            "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "calibration": calibration,
            "threshold": threshold,
            "uncertain_band": uncertain_band(p, labels, threshold, error=error),
            "class_prior": float(divided.fitted.damaged.mean()),
            "confidence": confidence_curve(p, labels, threshold),
            "strangeness": None,
            "event": event,
            "scores": (),
            "versions": base.card.versions
            | {"damagenet": __version__, "torch": str(torch.__version__)},
        }
    )


def finished_card(draft: Card, base: Bundle, report: AdaptReport, *, source: str) -> Card:
    """Return the card with scores, licences and the command.

    Args:
        draft: From `draft_card`.
        base: What it was adapted from.
        report: What was measured.
        source: Name of the labels' file.
    """
    own = f"Adapted to {report.labels.fitted} labels of {source}, whose licence binds too"
    tiles = base.card.training_tiles
    scores = _scores(report.aside, ASIDE)
    if report.base_task is not None:
        scores += _scores(report.base_task, TILES)
    return draft.model_copy(
        update={
            "training_tiles": tiles.model_copy(
                update={
                    "count": tiles.count + report.labels.fitted,
                    "split": f"{tiles.split} {own}.",
                    "licence": f"{tiles.licence}. {own}.",
                }
            ),
            "licence": f"{base.card.licence}. {own}; damagenet does not know it.",
            "scores": (*scores, *_kept(base.card.scores, scores)),
            "command": report.command,
        }
    )


def learned_places(fitted: Labelled) -> pd.DataFrame:
    """Return the chips that were fitted in the columns of a bundle's list of training tiles."""
    hashes = [
        hashlib.sha256(b"".join(image[chip].tobytes() for image in fitted.images)).hexdigest()
        for chip in range(len(fitted.owner))
    ]
    return pd.DataFrame(
        {
            "lon": fitted.lonlat[:, 0],
            "lat": fitted.lonlat[:, 1],
            "label": fitted.damaged[fitted.owner].astype(np.int64),
            "sha256": hashes,
        }
    )[MANIFEST_COLUMNS]


def _scores(comparison: Comparison, fold: str) -> tuple[Score, ...]:
    """Return what is kept of a comparison: the scores after and before, and the gain."""
    shown = {
        fold: {metric: comparison.after.estimate(metric) for metric in KEPT},
        f"{fold}, before": {metric: comparison.before.estimate(metric) for metric in KEPT},
        f"{fold}, gain": comparison.gain,
    }
    return tuple(
        Score(
            protocol="event",
            fold=name,
            metric=metric,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            note=_note(estimate.note, comparison.note),
        )
        for name, estimates in shown.items()
        for metric, estimate in estimates.items()
        if estimate.value is not None
    )


def _kept(before: tuple[Score, ...], measured: tuple[Score, ...]) -> Iterator[Score]:
    """Yield the base's scores but those that an adaptation before this one left."""
    new = {(score.protocol, score.fold, score.metric) for score in measured}
    for score in before:
        if (score.protocol, score.fold, score.metric) not in new:
            yield _before_adaptation(score)


def _before_adaptation(score: Score) -> Score:
    if score.note.endswith(BEFORE_ADAPTATION):
        return score
    return score.model_copy(update={"note": _note(score.note, BEFORE_ADAPTATION)})


def _note(*said: str) -> str:
    return "; ".join(text for text in said if text)
