"""What is said of an exported network: inside the file, and in `export.json` beside it."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from damagenet import __version__
from damagenet.bundle import Bundle, file_sha256, model_id
from damagenet.card import Calibration, Card, ChipGround, Quantized
from damagenet.config import Settings
from damagenet.errors import BundleError

RECORD_FILE = "export.json"
ONNX_FILE, PROGRAM_FILE = "model.onnx", "model.pt2"
KEY = "damagenet"
"""Name of the record among the metadata of an ONNX file, and of a program with `.json` behind."""


class ExportRecord(Settings):
    """All that one needs to use an exported network without damagenet.

    `probability = sigmoid(logit / temperature + bias)`, and damage from `threshold` on.
    """

    format: Literal["onnx", "torch-export"]
    file: str
    sha256: str = ""
    """Of the file; empty in the record that the file holds itself."""
    model: str
    """Name and first digits of the weights' hash, as in the column `model` of results."""
    weights_sha256: str
    """Of the bundle that was exported."""
    inputs: tuple[Literal["post", "pre"], ...]
    """Pictures that the network takes, in order: each uint8 (N, 3, size_px, size_px), RGB."""
    outputs: tuple[str, ...] = ("logits", "features")
    """float32 (N,), and float32 (N, F): what the last layer sees."""
    chip: ChipGround
    """Ground that a picture shows, in metres, and its pixels."""
    classes: tuple[str, str]
    calibration: Calibration
    threshold: float
    uncertain_band: tuple[float, float]
    """Probabilities strictly inside are uncertain."""
    quantized: Quantized | None
    largest_difference: float = Field(ge=0)
    """Between its probabilities and those of the bundle in torch, over made chips; in eight bits
    over the tiles that the loss was measured on."""
    sentence: str
    """What the model does to 100 intact and to 100 damaged buildings, as measured."""
    licence: str
    versions: dict[str, str]

    @classmethod
    def of(
        cls, card: Card, *, kind: Literal["onnx", "torch-export"], difference: float
    ) -> "ExportRecord":
        """Return what a file says of itself."""
        return cls(
            format=kind,
            file=ONNX_FILE if kind == "onnx" else PROGRAM_FILE,
            model=model_id(card),
            weights_sha256=card.weights_sha256,
            inputs=card.inputs,
            chip=card.chip,
            classes=card.classes,
            calibration=card.calibration,
            threshold=card.threshold,
            uncertain_band=card.uncertain_band,
            quantized=card.quantized,
            largest_difference=difference,
            sentence=card.sentence,
            licence=card.licence,
            versions={"damagenet": __version__, "torch": torch.__version__},
        )

    def as_json(self) -> str:
        """Return the text of `export.json`."""
        return self.model_dump_json(indent=2) + "\n"


def exported_onnx(bundle: Bundle) -> Path | None:
    """Return the ONNX file that `damagenet export` has put into a bundle; None without one.

    Raises:
        BundleError: If it is not the file that its record tells of, or one of other weights.
    """
    path, card = bundle.folder / ONNX_FILE, bundle.card
    if not path.is_file():
        if card.quantized is not None:
            raise BundleError(f"bundle {bundle.folder} lacks {ONNX_FILE}: copy it again, whole")
        return None
    try:
        record = ExportRecord.model_validate_json((bundle.folder / RECORD_FILE).read_bytes())
    except (OSError, ValueError) as err:
        raise BundleError(
            f"{path} has no readable {RECORD_FILE} beside it: export the model again"
        ) from err
    expected = record.sha256 if card.quantized is None else card.quantized.network_sha256
    if file_sha256(path) != expected or record.weights_sha256 != card.weights_sha256:
        raise BundleError(
            f"{path} was altered, or belongs to another bundle than {card.name}: "
            "export the model again"
        )
    return path
