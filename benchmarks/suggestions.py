"""Are the buildings that `damagenet suggest` picks worth more than as many drawn at random?

    python benchmarks/suggestions.py [--data FOLDER] [--model harvey] [--seeds 10] [--json FILE]

The graded buildings of the xBD scenes are one pool. Each way to pick takes n of them, a head is
fitted to their grades on what the network's own head sees (logistic, as many of each class in
weight), and scored on all others. Printed, over the seeds: balanced accuracy, how much better than
the random pick of the same seed (mean with a 95 % t interval), the share of damaged buildings among
those picked, the farthest that any building is from a picked one in the space of the embeddings (in
standard deviations), and how many picks had a single class, which score 0.5.

The rule of `suggest` was chosen with these scenes in sight; among rules of its kind the differences
were smaller than those between seeds. No bar is set: whether picking helps depends on what the
model knows of the event, and the answer here is for one model and four scenes.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import t as student

from damagenet.adapt.diversity import Choices, metres, uncertainty_of
from damagenet.adapt.rounds import plan_round
from damagenet.adapt.seen import see_buildings
from damagenet.bundle import load_bundle
from damagenet.evaluation.post_event import GRADES
from damagenet.evaluation.truth import read_survey
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.footprints import read_buildings
from data_prep.graded import GRADE_FIELD, find_scenes

SIZES = (20, 50, 100)
SHARE = 0.4
"""Of a suggestion drawn at random, as by default."""
DECAY = 0.01
"""Weight of the squared coefficients in the head's loss."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Picked = NDArray[np.int64]
Pick = Callable[["Pool", int, int], Picked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All graded buildings: what may be known of them before, and what was found."""

    choices: Choices
    features: Floats
    damaged: Bools


def pool_of(data: Path, model: str) -> Pool:
    """Return the judged and graded buildings of all scenes after the storm."""
    predictor = Predictor(load_bundle(model))
    frames, embeddings = [], []
    for scene in (one for one in find_scenes(data / "xbd") if one.after):
        buildings = read_buildings(scene.buildings)
        seen = see_buildings([scene.path], buildings, AssessOptions(), predictor)
        grades = read_survey(scene.buildings, GRADE_FIELD, GRADES).frame.set_index("unit_id")
        graded = seen.frame["unit_id"].isin(grades.index).to_numpy()
        frame = seen.frame[graded]
        damaged = grades["damaged"].loc[frame["unit_id"]].to_numpy()
        frames.append(pd.DataFrame(frame.drop(columns="geometry")).assign(damaged=damaged))
        embeddings.append(seen.embeddings[graded])
    table, features = pd.concat(frames), np.concatenate(embeddings).astype(np.float64)
    deviation = features.std(axis=0)
    card = predictor.bundle.card
    choices = Choices(
        embeddings=features,
        uncertainty=uncertainty_of(table["p_damaged"].to_numpy(), card.threshold),
        places=metres(table["lon"].to_numpy(), table["lat"].to_numpy()),
        free=np.ones(len(table), dtype=bool),
        apart_m=min(card.chip.width_m, card.chip.height_m) / 2,
    )
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return Pool(choices=choices, features=scaled, damaged=table["damaged"].to_numpy(dtype=bool))


def by_round(share: float, *, doubt: bool = True) -> Pick:
    """Return a way to pick that is a round of suggestions."""

    def pick(pool: Pool, count: int, seed: int) -> Picked:
        choices = pool.choices
        if not doubt:
            choices = replace(choices, uncertainty=np.ones(len(choices.free)))
        nobody = np.zeros(len(choices.free), dtype=bool)
        rng = np.random.default_rng([seed, 1])
        planned = plan_round(choices, random=nobody, share=share, n=count, rng=rng)
        return np.array([unit for unit, _ in planned.order])

    return pick


def most_doubtful(pool: Pool, count: int, seed: int) -> Picked:
    """Pick the nearest to the threshold, whatever the seed."""
    return np.argsort(-pool.choices.uncertainty, kind="stable")[:count]


PICKS: dict[str, Pick] = {
    "random": by_round(1.0),
    "suggest (40 % random)": by_round(SHARE),
    "chosen alone": by_round(0.0),
    "chosen by diversity alone": by_round(0.0, doubt=False),
    "most doubtful": most_doubtful,
}


def balanced_accuracy(pool: Pool, picked: Picked) -> float:
    """Return the score on all other buildings of a head fitted to the picked ones."""
    truth = pool.damaged[picked]
    if truth.all() or not truth.any():
        return 0.5
    weights = fitted(pool.features[picked], truth)
    rest = np.setdiff1d(np.arange(len(pool.damaged)), picked)
    called = with_one(pool.features[rest]) @ weights > 0
    found, intact = called[pool.damaged[rest]], ~called[~pool.damaged[rest]]
    return float((found.mean() + intact.mean()) / 2)


def fitted(features: Floats, truth: Bools) -> Floats:
    """Return the coefficients of a logistic head with both classes of equal weight."""
    rows, sign = with_one(features), np.where(truth, 1.0, -1.0)
    weight = np.where(truth, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        margin = sign * (rows @ coefficients)
        slopes = coefficients * np.r_[np.ones(len(coefficients) - 1), 0.0]
        value = (weight * np.logaddexp(0, -margin)).mean() + DECAY * (slopes**2).sum()
        pull = -sign * weight * np.exp(-np.logaddexp(0, margin))
        return value, rows.T @ pull / len(truth) + 2 * DECAY * slopes

    return np.asarray(minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x)


def with_one(features: Floats) -> Floats:
    """Return features with a last column of ones, and all of them of length about one."""
    return np.c_[features / np.sqrt(features.shape[1]), np.ones(len(features))]


def farthest(pool: Pool, picked: Picked) -> float:
    """Return how far the loneliest building is from the nearest picked one."""
    return float(cdist(pool.features, pool.features[picked]).min(axis=1).max())


def table_of(pool: Pool, seeds: int) -> pd.DataFrame:
    """Return one row per way, size and seed."""
    rows = []
    for name, pick in PICKS.items():
        for count in SIZES:
            for seed in range(seeds):
                picked = pick(pool, count, seed)
                truth = pool.damaged[picked]
                row = {"pick": name, "n": count, "seed": seed, "damaged": truth.mean()}
                row |= {"score": balanced_accuracy(pool, picked), "far": farthest(pool, picked)}
                rows.append(row | {"one_class": bool(truth.all() or not truth.any())})
    table = pd.DataFrame(rows)
    random = table[table["pick"] == "random"].set_index(["n", "seed"])["score"]
    return table.assign(
        gain=table["score"] - random.loc[list(zip(table["n"], table["seed"], strict=True))].array
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return means over the seeds, and the interval of the gain over random picks."""
    groups = table.groupby(["n", "pick"], sort=False)
    means = groups.agg(
        score=("score", "mean"),
        score_sd=("score", "std"),
        gain=("gain", "mean"),
        gain_sd=("gain", "std"),
        damaged=("damaged", "mean"),
        far=("far", "mean"),
        one_class=("one_class", "sum"),
        seeds=("seed", "count"),
    )
    half = student.ppf(0.975, means["seeds"] - 1) * means["gain_sd"] / np.sqrt(means["seeds"])
    return means.assign(low=means["gain"] - half, high=means["gain"] + half).reset_index()


def main() -> int:
    """Print how every way to pick did."""
    parser = argparse.ArgumentParser(description="Suggested labels against random ones.")
    parser.add_argument("--data", type=Path, default=os.environ.get("DAMAGENET_DATA"))
    parser.add_argument("--model", default="harvey")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of real data with --data or DAMAGENET_DATA")
    pool = pool_of(given.data, given.model)
    found = summary(table_of(pool, given.seeds))
    sys.stdout.write(
        f"{len(pool.damaged)} buildings, {int(pool.damaged.sum())} damaged; model {given.model}, "
        f"{given.seeds} seeds\n"
    )
    shown = ["score", "score_sd", "gain", "low", "high", "damaged", "far", "one_class"]
    for count, rows in found.groupby("n"):
        sys.stdout.write(f"\n{count} labels\n")
        lines = rows.set_index("pick")[shown].to_string(float_format="{:.3f}".format)
        sys.stdout.write(f"{lines}\n")
    if given.json:
        given.json.write_text(found.to_json(orient="records", indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
