"""Fit the model of a veiled block (`data_prep/clouds.py`), and compare it with simpler rules.

    python benchmarks/clouds_fit.py [--data FOLDER]

Takes the blocks of the buildings' windows in the scenes of `CHOSEN_ON` after the storm, as they
were and under made skies, prints the weights, and for every rule how many of the truly obscured
buildings it finds and how many others it calls obscured, on those scenes and on `REPORTED_ON`.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cloud_scenes import (
    CHOSEN_ON,
    EXPOSURES,
    HIDDEN_BELOW,
    REPORTED_ON,
    SKIES,
    View,
    as_it_was,
    pictures,
    under_skies,
)
from numpy.typing import NDArray

from damagenet.options import AssessOptions
from data_prep.clouds import BLOCK_PX, look_at_blocks

FEATURES = ("darkest", "colour", "contrast")
SEEDS = (11, 12)
"""None of those of `benchmarks/clouds.py`, which shows other skies over the same scenes."""
MISS_WEIGHT = 3.0
"""A veiled block that is missed counts so many times a false one: a house behind cloud may get a
verdict, one in the open only goes without."""
DECAY = 1e-3
"""Ridge penalty on the standardised weights: only keeps them finite."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A view in blocks: n x n of each of N windows."""

    view: View
    features: Floats  # (N, n, n, 3)
    valid: Floats  # (N, n, n)
    through: Floats  # (N, n, n)


def look(view: View) -> Looked:
    """Return the blocks of a view, and let go of its pixels."""
    looks = look_at_blocks(view.image, view.valid)
    return Looked(
        view=view,
        features=np.stack([getattr(looks, name) for name in FEATURES], axis=-1).astype(float),
        valid=_blocks(view.valid),
        through=_blocks(view.through),
    )


def views(data: Path, places: Sequence[str]) -> list[Looked]:
    """Return the blocks of places after the storm, as they were and under made skies."""
    looked = []
    for picture in pictures(data, places):
        looked.append(look(as_it_was(picture)))
        for seed in SEEDS:
            looked += [look(view) for view in under_skies(picture, SKIES, seed)]
    return looked


def fit(features: Floats, veiled: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Return bias and weights of a logistic regression, by Newton's method.

    Args:
        features: float64 (M, F).
        veiled: What is to be told, bool (M,).
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    columns = np.column_stack((np.ones(len(features)), (features - mean) / spread))
    counts = np.where(veiled, MISS_WEIGHT, 1.0)
    penalty = DECAY * counts.sum() * np.diag([0.0, *[1.0] * len(mean)])
    weights = np.zeros(len(mean) + 1)
    for _ in range(30):
        odds = np.clip(columns @ weights, -30, 30)
        chance = 1 / (1 + np.exp(-odds))
        slope = columns.T @ (counts * (veiled - chance)) - penalty @ weights
        bend = (columns * (counts * chance * (1 - chance))[:, None]).T @ columns + penalty
        weights += np.linalg.solve(bend, slope)
    own = weights[1:] / spread
    return float(weights[0] - own @ mean), own


Rule = Callable[[Floats], NDArray[np.bool_]]


def rules(looked: list[Looked]) -> dict[str, Rule]:
    """Return the rules that are compared: thresholds, and models of one, two and three figures."""
    features = np.concatenate([one.features[one.valid == 1] for one in looked])
    veiled = np.concatenate([one.through[one.valid == 1] < HIDDEN_BELOW for one in looked])
    found: dict[str, Rule] = {
        f"darkest >= {least} and colour <= 0.15": _thresholds(least / 255, 0.15)
        for least in (120, 135, 150)
    }
    for count in range(1, len(FEATURES) + 1):
        bias, weights = fit(features[:, :count], veiled)
        told = ", ".join(
            f"{name} {value:.2f}" for name, value in zip(FEATURES, weights, strict=False)
        )
        found[f"model: bias {bias:.2f}, {told}"] = _model(bias, weights)
    return found


def _thresholds(darkest: float, colour: float) -> Rule:
    return lambda features: (features[..., 0] >= darkest) & (features[..., 1] <= colour)


def _model(bias: float, weights: Floats) -> Rule:
    return lambda features: bias + features[..., : len(weights)] @ weights > 0


def tell(rule: Rule, looked: list[Looked]) -> str:
    """Return what a rule does to buildings under clouds and haze, by their mean transmission."""
    least = AssessOptions().min_valid
    counts: dict[str, list[int]] = {}
    for one in looked:
        view = one.view
        if view.sky in EXPOSURES:
            continue
        shown = view.by_unit(one.valid) >= least
        found = view.by_unit(one.valid * ~rule(one.features)) < least
        hidden = view.by_unit(one.valid * (one.through >= HIDDEN_BELOW)) < least
        edges = np.array((0.05, 0.15, 0.25, 0.5, 0.8))
        for called, true, step in zip(
            found[shown],
            hidden[shown],
            np.searchsorted(edges, view.by_unit(one.through)[shown]),
            strict=True,
        ):
            up_to = (*edges, 1.0)[step]
            tally = counts.setdefault(f"{'hidden' if true else 'seen'} t<={up_to:g}", [0, 0])
            tally[0] += int(called)
            tally[1] += 1
    return "; ".join(f"{name} {k}/{n} ({k / n:.1%})" for name, (k, n) in sorted(counts.items()))


def _blocks(pixels: NDArray[np.generic]) -> Floats:
    count, side, _ = pixels.shape
    blocks = side // BLOCK_PX
    return pixels.reshape(count, blocks, BLOCK_PX, blocks, BLOCK_PX).mean(axis=(2, 4), dtype=float)


def main() -> None:
    """Fit, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("DAMAGENET_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with xbd/ and scenes/")
    arguments = parser.parse_args()
    chosen, reported = (views(arguments.data, places) for places in (CHOSEN_ON, REPORTED_ON))
    for name, rule in rules(chosen).items():
        print(f"{name}\n  chosen    {tell(rule, chosen)}\n  reported  {tell(rule, reported)}")


if __name__ == "__main__":
    main()
