"""Bundles written and changed on disk: whole or not at all."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from damagenet.bundle import (
    CARD_FILE,
    MANIFEST_COLUMNS,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    file_sha256,
    read_card,
)
from damagenet.card import Card, Score
from damagenet.errors import OutputError

if TYPE_CHECKING:
    import pandas as pd

    from damagenet.strangeness import Neighbours
    from models.classifier import Classifier


def save_bundle(
    folder: Path,
    card: Card,
    network: "Classifier",
    manifest: "pd.DataFrame",
    *,
    neighbours: "Neighbours | None" = None,
) -> Card:
    """Write a bundle, whole or not at all, and return its card with the hashes filled in.

    Args:
        folder: Made, or replaced where it holds a bundle.
        card: All but the hashes, which are computed here.
        network: Its state is stored as it is.
        manifest: Training tiles with the columns lon, lat, label, sha256.
        neighbours: What the card's `strangeness` was measured with; without them it has none.

    Raises:
        OutputError: If the folder holds something else, or cannot be written.
    """
    from safetensors.torch import save

    from damagenet.strangeness import keep_neighbours

    if folder.exists() and not (folder / CARD_FILE).exists():
        raise OutputError(f"{folder} exists and holds no bundle: choose another folder")
    folder = folder.resolve()  # a link stays one
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        # Copies, as parameters that several sites share may not share memory in the file.
        state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
        # Written by ourselves: safetensors' own writer makes files that only the owner can read.
        (partial / WEIGHTS_FILE).write_bytes(save(state))
        manifest[MANIFEST_COLUMNS].to_parquet(partial / MANIFEST_FILE, index=False)
        card = keep_neighbours(partial, card, neighbours)
        card = _with_hashes(card, partial)
        (partial / CARD_FILE).write_text(card.as_json(), encoding="utf-8")
        replace_folder(folder, partial)
    except OSError as err:
        raise OutputError(f"cannot write bundle {folder}: {err.strerror}") from err
    return card


def replace_folder(folder: Path, made: Path) -> None:
    """Put a folder that was made beside another in its place; the other goes when that is done.

    Args:
        folder: What is replaced, if it is there; no link.
        made: What becomes it, on the same disk.

    Raises:
        OSError: If it cannot be done; both are where they were then.
    """
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    try:
        made.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def with_scores(folder: Path, scores: Sequence[Score]) -> Card:
    """Put measured scores into the card of a bundle on disk and return the new card.

    A score of the same protocol, fold and metric is replaced; the others stay.

    Raises:
        BundleError: If the folder holds no readable bundle.
        OutputError: If the card cannot be written.
    """
    card = read_card(folder)
    merged = {(old.protocol, old.fold, old.metric): old for old in card.scores}
    merged |= {(new.protocol, new.fold, new.metric): new for new in scores}
    card = card.model_copy(update={"scores": tuple(merged.values())})
    write_card(folder, card)
    return card


def write_card(folder: Path, card: Card) -> None:
    """Replace the card of a bundle on disk, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    partial = folder / f".{CARD_FILE}.partial"
    try:
        partial.write_text(card.as_json(), encoding="utf-8")
        partial.replace(folder / CARD_FILE)
    except OSError as err:
        raise OutputError(f"cannot write {folder / CARD_FILE}: {err.strerror}") from err


def _with_hashes(card: Card, folder: Path) -> Card:
    manifest, weights = (file_sha256(folder / name) for name in (MANIFEST_FILE, WEIGHTS_FILE))
    tiles = card.training_tiles.model_copy(update={"manifest_sha256": manifest})
    return card.model_copy(update={"training_tiles": tiles, "weights_sha256": weights})
