"""A bundle with its network as a file in it: an ONNX model, or a program of torch."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from damagenet.bundle import BUNDLE_FILES, Bundle, file_sha256, load_bundle
from damagenet.bundle_writing import replace_folder, write_card
from damagenet.card import Card, Quantized
from damagenet.errors import BundleError, ConfigError, DamageNetError, OutputError
from damagenet.export.quantise import MOST_LOSS, Loss, measure_loss, open_parts, quantised
from damagenet.inference import fused
from damagenet.runtimes.answers import Answering, torch_forward
from damagenet.runtimes.export_record import (
    KEY,
    ONNX_FILE,
    PROGRAM_FILE,
    RECORD_FILE,
    ExportRecord,
)
from damagenet.runtimes.exported import exported_program, load_program, onnx_model, save_program
from damagenet.runtimes.onnx_runtime import onnx_forward, require_onnx_runtime
from damagenet.runtimes.parity import require_parity
from damagenet.strangeness import NEIGHBOURS_FILE
from data_prep.harvey import HarveyTiles

if TYPE_CHECKING:
    from onnx import ModelProto

ExportFormat = Literal["onnx", "torch-export"]


def export_model(
    model: str | Path,
    out: Path,
    *,
    kind: ExportFormat,
    tiles: HarveyTiles | None = None,
    lossy: bool = False,
) -> ExportRecord:
    """Write a bundle again with its network as a file in it, compared to the network in torch.

    In eight bits it is another model, with a name and a card of its own.

    Args:
        model: A shipped name or a bundle's folder.
        out: Made, or replaced where it holds an export.
        kind: What is written.
        tiles: Round the convolutions to eight bits, by the ranges of these tiles; ONNX only.
        lossy: Write it also where that costs more than `MOST_LOSS` points.

    Raises:
        BundleError: If the bundle cannot be read or exported, what was written answers otherwise
            than torch does, or eight bits lose too much.
        ConfigError: If eight bits are asked of what cannot have them, or ONNX is not installed.
        DataError: If the tiles do not suit the bundle.
        OutputError: If the folder holds something else, or cannot be written.
    """
    if tiles is not None and kind != "onnx":
        raise ConfigError("eight bits are those of ONNX Runtime: --quantize needs --format onnx")
    if kind == "onnx":
        require_onnx_runtime()
    bundle = load_bundle(model)
    with _made_whole(out) as folder:
        for path in bundle.folder.iterdir():
            if path.name in (*BUNDLE_FILES, NEIGHBOURS_FILE):
                shutil.copy(path, folder)
        if kind == "torch-export":
            record = _write_program(bundle, folder)
        elif tiles is None:
            record = _write_onnx(bundle, folder)
        else:
            record = _write_int8(bundle, folder, tiles, lossy=lossy)
        (folder / RECORD_FILE).write_text(record.as_json(), encoding="utf-8")
    return record


def _write_program(bundle: Bundle, folder: Path) -> ExportRecord:
    card, answering = bundle.card, Answering(fused(bundle.network))
    program, path = exported_program(answering, card), folder / PROGRAM_FILE
    plain = torch_forward(answering)
    found = require_parity(card, plain, torch_forward(program.module()), what=path.name)
    record = ExportRecord.of(card, kind="torch-export", difference=found.probability)
    save_program(program, path, record.as_json())
    require_parity(card, plain, torch_forward(load_program(path)), what=path.name)
    return record.model_copy(update={"sha256": file_sha256(path)})


def _write_onnx(bundle: Bundle, folder: Path) -> ExportRecord:
    card, answering = bundle.card, Answering(fused(bundle.network))
    model = onnx_model(exported_program(answering, card), card)
    forward = onnx_forward(model.SerializeToString(), card.inputs)
    found = require_parity(card, torch_forward(answering), forward, what=ONNX_FILE)
    return _write_model(model, folder, card, found.probability)


def _write_int8(bundle: Bundle, folder: Path, tiles: HarveyTiles, *, lossy: bool) -> ExportRecord:
    """Write the network in eight bits, and a card that says what it is."""
    answering = Answering(fused(bundle.network))
    parts = open_parts(bundle, tiles)
    model = onnx_model(exported_program(answering, bundle.card), bundle.card)
    rounded = quantised(model, bundle, tiles, parts)
    loss = measure_loss(model, rounded, bundle, tiles, parts)
    if not lossy:
        require_small_loss(bundle.card, loss)
    card = int8_card(bundle.card, loss)
    record = _write_model(rounded, folder, card, loss.largest_difference)
    assert card.quantized is not None  # int8_card has just said so
    measured = card.quantized.model_copy(update={"network_sha256": record.sha256})
    card = card.model_copy(update={"quantized": measured})
    write_card(folder, card)
    (folder / NEIGHBOURS_FILE).unlink(missing_ok=True)
    return record.model_copy(update={"quantized": measured})


def require_small_loss(card: Card, loss: Loss) -> None:
    """Raise BundleError if eight bits cost more than `MOST_LOSS` points."""
    if loss.points > MOST_LOSS:
        raise BundleError(
            f"{card.name} loses {loss.accuracy:.2f} points of balanced accuracy and "
            f"{loss.auroc:.2f} of AUROC in int8 ({loss.measured_on}), and {MOST_LOSS:g} are "
            "allowed: export it without --quantize, or accept the loss with --lossy"
        )


def int8_card(card: Card, loss: Loss) -> Card:
    """Return the card of the same network in eight bits.

    What was measured on single logits and features of the other one does not hold for it.
    """
    quantized = Quantized(
        kind="int8",
        accuracy_loss=loss.accuracy,
        auroc_loss=loss.auroc,
        mean_difference=loss.mean_difference,
        measured_on=loss.measured_on,
    )
    update = {
        "name": f"{card.name}-int8",
        "quantized": quantized,
        "confidence": None,
        "strangeness": None,
    }
    return card.model_copy(update=update)


def _write_model(model: "ModelProto", folder: Path, card: Card, difference: float) -> ExportRecord:
    record = ExportRecord.of(card, kind="onnx", difference=difference)
    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=record.as_json())
    content = model.SerializeToString()
    (folder / ONNX_FILE).write_bytes(content)
    return record.model_copy(update={"sha256": sha256(content).hexdigest()})


@contextmanager
def _made_whole(out: Path) -> Iterator[Path]:
    """Yield a folder to write to, which becomes `out` when all went well.

    Raises:
        OutputError: If there is something else than an export, or it cannot be written.
    """
    if out.exists() and not (out / RECORD_FILE).is_file():
        raise OutputError(f"{out} exists and holds no export: choose another folder with --out")
    out = out.resolve()  # a link stays one
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        replace_folder(out, partial)
    except DamageNetError:
        raise
    except OSError as err:
        raise OutputError(f"cannot write {out}: {err.strerror}") from err
    finally:
        shutil.rmtree(partial, ignore_errors=True)
