"""The bundle: weights, card and list of training tiles in one folder, read with suspicion.

    model.safetensors        the weights
    card.json                what must be known besides (`damagenet.card.Card`)
    training_tiles.parquet   lon, lat, label and SHA-256 of every tile the weights have seen
    neighbours.safetensors   features of training tiles, where the card has `strangeness`

Reading a card loads no torch.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from damagenet.card import FORMAT_VERSION, Card
from damagenet.config import make_settings, meant
from damagenet.errors import BundleError, ConfigError
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
