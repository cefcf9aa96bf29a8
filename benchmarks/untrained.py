"""Bundles of untrained networks: as fast as trained ones, and made without any download."""

from pathlib import Path

import pandas as pd
import torch

from damagenet.bundle import read_card, save_bundle
from damagenet.recipe import Choice, ModelSettings
from models.factory import as_built, build_network


def make_untrained(architecture: str, folder: Path) -> None:
    """Write a bundle of an architecture with random weights, always the same."""
    torch.manual_seed(0)
    card = read_card("harvey")
    model = as_built(ModelSettings(architecture=Choice(name=architecture)))
    card = card.model_copy(update={"name": folder.name, "model": model, "strangeness": None})
    network = build_network(model, pixel_mean=card.pixel_mean, pixel_std=card.pixel_std)
    manifest = pd.DataFrame({"lon": [-95.0], "lat": [29.0], "label": [1], "sha256": ["0" * 64]})
    save_bundle(folder, card, network.eval(), manifest)
