"""The bundle: weights, card and list of training tiles in one folder, read with suspicion.

    model.safetensors        the weights
    card.json                what must be known besides (`damagenet.card.Card`)
    training_tiles.parquet   lon, lat, label and SHA-256 of every tile the weights have seen
    neighbours.safetensors   features of training tiles, where the card has `strangeness`

Reading a card loads no torch.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from damagenet.card import FORMAT_VERSION, Card, Score
from damagenet.config import make_settings, meant
from damagenet.errors import BundleError, ConfigError, OutputError
from damagenet.options import Runtime
from damagenet.recipe import DEFAULT, Choice

if TYPE_CHECKING:
    import pandas as pd

    from damagenet.strangeness import Neighbours
    from models.classifier import Classifier

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
MANIFEST_FILE = "training_tiles.parquet"
BUNDLE_FILES = (CARD_FILE, WEIGHTS_FILE, MANIFEST_FILE)
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
MANIFEST_COLUMNS = ["lon", "lat", "label", "sha256"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A trained network with all that must be known about it.

    Attributes:
        card: Its card.
        network: In evaluation mode, on the CPU; images uint8 (N, 3, S, S) -> logits (N, 1).
        folder: Where it was read from.
        neighbours: Training tiles to compare chips with; None where the bundle holds none.
    """

    card: Card
    network: "Classifier"
    folder: Path
    neighbours: "Neighbours | None" = None

    @property
    def model_id(self) -> str:
        """Name and short hash, as written into the records' column `model`."""
        return model_id(self.card)

    def training_tiles(self) -> "pd.DataFrame":
        """Return lon, lat, label and sha256 of the tiles the weights have seen."""
        import pandas as pd

        return pd.read_parquet(self.folder / MANIFEST_FILE)


def model_id(card: Card) -> str:
    """Return `name@hash` with the first eight digits of the weights' hash."""
    return f"{card.name}@{card.weights_sha256[:8]}"


def weights_folder() -> Path:
    """Return the folder of the shipped bundles, in the checkout as in a wheel."""
    return Path(str(files("models"))) / "weights"


def shipped_bundles() -> list[str]:
    """Return the names of the shipped bundles in alphabetical order."""
    return sorted(path.parent.name for path in weights_folder().glob(f"*/{CARD_FILE}"))


def find_bundle(name_or_folder: str | Path) -> Path:
    """Return the folder of a shipped name or of a folder on disk, with all its files.

    Raises:
        BundleError: If there is none, a file is missing, or it is a pickle.
    """
    given = Path(name_or_folder)
    if given.suffix.lower() in PICKLES:
        raise BundleError(
            f"{given} is a pickle, which can run code when opened: pass a bundle's folder "
            f"with {WEIGHTS_FILE}, made by `damagenet train`"
        )
    folder = weights_folder() / given if str(name_or_folder) in shipped_bundles() else given
    if not folder.is_dir():
        raise BundleError(
            f"no model {str(given)!r}{meant(str(given), shipped_bundles())}: it is neither a "
            f"folder nor a shipped model ({', '.join(shipped_bundles()) or 'none shipped'})"
        )
    _require_files(folder)
    return folder


def _require_files(folder: Path) -> None:
    missing = [name for name in BUNDLE_FILES if not (folder / name).is_file()]
    if not missing:
        return
    pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in PICKLES]
    if WEIGHTS_FILE in missing and pickles:
        raise BundleError(
            f"bundle {folder} holds a pickle ({pickles[0]}), which can run code when opened, "
            f"where {WEIGHTS_FILE} should be: make the bundle again with `damagenet train`"
        )
    raise BundleError(f"bundle {folder} lacks {', '.join(missing)}: copy it again, whole")


def read_card(name_or_folder: str | Path) -> Card:
    """Return the card of a bundle without loading its weights.

    Raises:
        BundleError: If the bundle is not found or not whole, or its card is of an unknown
            format, lacks a field or holds a value out of range.
    """
    path = find_bundle(name_or_folder) / CARD_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise BundleError(f"card {path} is not readable JSON: {err}") from err
    if not isinstance(values, dict):
        raise BundleError(f"card {path} is not a JSON object: copy the bundle again")
    if (version := values.get("format_version", FORMAT_VERSION)) != FORMAT_VERSION:
        raise BundleError(
            f"bundle {path.parent} has format version {version!r}, this damagenet reads "
            f"{FORMAT_VERSION}: install the version of damagenet it was made with"
        )
    try:
        card = make_settings(Card, values, source=f"card {path}")
    except ConfigError as err:
        raise BundleError(str(err)) from err
    if absent := _absent(card):
        raise BundleError(f"card {path}: {', '.join(absent)} is missing")
    return card


def _absent(card: Card) -> list[str]:
    """Name what is missing inside the parts of a card that have defaults elsewhere."""
    parts = {"model": card.model, "chip": card.chip, "calibration": card.calibration}
    return [
        f"{name}.{field}"
        for name, part in parts.items()
        for field in type(part).model_fields
        if field not in part.model_fields_set and (name, field) != ("calibration", "prior")
    ]


def load_bundle(name_or_folder: str | Path, *, runtime: Runtime = "torch") -> Bundle:
    """Return a bundle with its network, every hash checked.

    Args:
        name_or_folder: A shipped name (see `shipped_bundles`) or a folder.
        runtime: What shall compute; a quantised network is known to ONNX Runtime alone.

    Raises:
        BundleError: As `read_card`, and if a hash is wrong, the weights are no safetensors
            file, they do not fit the architecture on the card, or the runtime cannot run it.
    """
    from damagenet.strangeness import read_neighbours

    card = read_card(name_or_folder)
    if card.quantized is not None and runtime != "onnx":
        raise BundleError(
            f"model {card.name} is quantised to {card.quantized.kind}, which `damagenet assess "
            "--runtime onnx` alone can run: pass that, or take the model it was exported from"
        )
    folder = find_bundle(name_or_folder)
    _check_hash(folder / WEIGHTS_FILE, card.weights_sha256)
    _check_hash(folder / MANIFEST_FILE, card.training_tiles.manifest_sha256)
    return Bundle(
        card=card,
        network=_read_network(folder / WEIGHTS_FILE, card),
        folder=folder,
        neighbours=read_neighbours(folder, card),
    )


def _check_hash(path: Path, expected: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise BundleError(
            f"{path} was altered or damaged: its SHA-256 is {found[:12]}, its card says "
            f"{expected[:12]}; copy the bundle again"
        )


def _read_network(path: Path, card: Card) -> "Classifier":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from models.factory import build_network
    from models.standardise import add_standardisation

    network = build_network(
        # What weights were started by does not matter to those that come now.
        card.model.model_copy(update={"init": Choice(name=DEFAULT)}),
        pixel_mean=card.pixel_mean,
        pixel_std=card.pixel_std,
        inputs=card.inputs,
        size_px=card.chip.size_px,
    )
    try:
        add_standardisation(network, card.standardised or {})
        network.load_state_dict(load_file(path))
    except SafetensorError as err:
        raise BundleError(f"{path} is no safetensors file ({err}): nothing else is read") from err
    except (ConfigError, RuntimeError) as err:
        raise BundleError(
            f"the tensors in {path} do not fit the architecture "
            f"{card.model.architecture.name!r} on its card: {' '.join(str(err).split())[:200]}"
        ) from err
    return network.eval()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as err:
        raise OutputError(f"cannot write bundle {folder}: {err.strerror}") from err
    return card


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
