"""A made data set: small tiles on which damage is dark water, and a recipe that learns it."""

from pathlib import Path

import numpy as np
import pandas as pd

from damagenet.config import make_settings
from damagenet.recipe import Recipe
from data_prep.harvey import HarveyTiles
from data_prep.tile import world_pixel

SIDE_PX = 32
PARTS = {"train_another": 64, "validation_another": 24, "test_another": 8}


def make_tiles(folder: Path = Path("made"), *, seed: int = 0) -> HarveyTiles:
    """Return 96 tiles of 32 px, half of them flooded, no two on the same ground."""
    rng = np.random.default_rng(seed)
    count = sum(PARTS.values())
    labels = np.arange(count) % 2
    level = np.where(labels, 60, 120)[:, None, None, None]
    pixels = (level + rng.normal(0, 25, (count, SIDE_PX, SIDE_PX, 3))).clip(0, 255)
    lon, lat = -95.5 + 0.002 * np.arange(count), np.full(count, 29.75)
    places = [world_pixel(*place) for place in zip(lon, lat, strict=True)]
    manifest = pd.DataFrame(
        {
            "path": [f"{number}.jpeg" for number in range(count)],
            "sha256": [f"{number:064x}" for number in range(count)],
            "label": labels,
            "lon": lon,
            "lat": lat,
            "column": [int(column) for column, _ in places],
            "row_px": [int(row) for _, row in places],
            "region": "houston-west",
            "acquisition": "",
            "published_split": np.repeat(list(PARTS), list(PARTS.values())),
            "duplicate_of": "",
            "bytes": 0,
        }
    )
    return HarveyTiles(folder=folder, manifest=manifest, pixels=pixels.astype(np.uint8))


def make_recipe(**training: object) -> Recipe:
    """Return a recipe that trains a narrow network in about a second."""
    # A probe in steps takes every tile as it is.
    augmentation = "none" if training.get("transfer") == "linear_probe" else "d4"
    settings = {
        "name": "made",
        "data": {"split": "published", "allow_leak": True, "augmentation": augmentation},
        "model": {"architecture": {"name": "compact_resnet", "width": 8}},
        "training": {
            "epochs": 2,
            "batch_size": 16,
            "optimizer": {"name": "adamw", "lr": 0.01},
            **training,
        },
    }
    return make_settings(Recipe, settings)
