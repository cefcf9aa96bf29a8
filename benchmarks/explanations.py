"""Do explanations depend on what was learned? Weights are made random, and maps compared.

    python benchmarks/explanations.py [--tiles data/harvey] [--chips 16]

Adebayo et al. 2018, arXiv:1810.03292: from the head downwards layer after layer is drawn anew. A
map that stays the same was never about the verdict. Prints the mean rank correlation of the maps.
"""

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from damagenet.bundle import Bundle, load_bundle
from damagenet.explain.explainer import Explainer
from damagenet.explain.methods import Asked
from damagenet.explain.names import METHOD_NAMES, MethodName
from data_prep.harvey import HarveyTiles

STAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "harvey": (
        ("head",),
        ("head", "features.stage3"),
        ("head", "features.stage3", "features.stage2"),
        ("head", "features"),
    ),
    "harvey-event": (("head",), ("head", "features.trunk.stage5"), ("head", "features")),
}
"""Modules that are made random, by bundle."""
STEPS = 24
SEED = 1

Maps = dict[MethodName, NDArray[np.float32]]


def main() -> None:
    """Print one line for every bundle and every depth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=Path, default=Path("data/harvey"))
    parser.add_argument("--chips", type=int, default=16)
    given = parser.parse_args()
    tiles = HarveyTiles.open(given.tiles)
    rows = np.random.default_rng(0).choice(len(tiles.pixels), given.chips, replace=False)
    chips = np.ascontiguousarray(tiles.pixels[np.sort(rows)].transpose(0, 3, 1, 2))
    for name, depths in STAGES.items():
        bundle = load_bundle(name)
        learned = maps_of(bundle, chips)
        for prefixes in depths:
            drawn = maps_of(with_random_weights(bundle, prefixes), chips)
            told = {one: round(likeness(learned[one], drawn[one]), 2) for one in METHOD_NAMES}
            print(name, *prefixes, told, flush=True)


def maps_of(bundle: Bundle, chips: NDArray[np.uint8]) -> Maps:
    """Return the maps of chips by every method, (N, S, S)."""
    explainer = Explainer(bundle, METHOD_NAMES, device="cpu", asked=Asked(steps=STEPS))
    return {name: explainer.explain(name, (chips,)).maps[0] for name in METHOD_NAMES}


def with_random_weights(bundle: Bundle, prefixes: tuple[str, ...]) -> Bundle:
    """Return the bundle with fresh weights in all modules whose names begin so."""
    network = copy.deepcopy(bundle.network)
    torch.manual_seed(SEED)
    for name, layer in network.named_modules():
        reset = getattr(layer, "reset_parameters", None)
        if reset is not None and name.startswith(prefixes):
            reset()
    return replace(bundle, network=network)


def likeness(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the mean rank correlation of N maps."""
    pairs = zip(before, after, strict=True)
    return float(np.mean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs]))


if __name__ == "__main__":
    main()
