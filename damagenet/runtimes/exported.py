"""A network as a program without Python: `torch.export` and ONNX."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.export import Dim, ExportedProgram

from damagenet.card import Card
from damagenet.errors import BundleError, ConfigError
from damagenet.runtimes.answers import Answering

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
"""Of ONNX: what ONNX Runtime has understood since 1.17."""
OUTPUTS = ("logits", "features")
CHIPS = "chips"
"""Name of the batch's axis, which may be of any length from 1."""
INSTALL = "pip install 'damagenet[onnx]'"


def exported_program(answering: Answering, card: Card) -> ExportedProgram:
    """Return a network as a program of torch for any number of chips.

    Args:
        answering: In evaluation mode, on the CPU.
        card: Its card.

    Raises:
        BundleError: If the network cannot be exported.
    """
    size = card.chip.size_px
    example = tuple(torch.zeros(2, 3, size, size, dtype=torch.uint8) for _ in card.inputs)
    answering = answering.eval().requires_grad_(False)
    shapes = (tuple({0: Dim(CHIPS, min=1)} for _ in example),)
    with _translated(card, "torch.export"), torch.no_grad():
        return torch.export.export(answering, example, dynamic_shapes=shapes)


def onnx_model(program: ExportedProgram, card: Card) -> "ModelProto":
    """Return an exported program as an ONNX model, with the card's `inputs` and `OUTPUTS`.

    Raises:
        ConfigError: If the packages are not installed.
        BundleError: If the network has no counterpart in ONNX.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch asks for it with a traceback only
    except ImportError as err:
        raise ConfigError(f"ONNX is written by the packages of an extra: {INSTALL}") from err
    with _translated(card, "ONNX"):
        written = torch.onnx.export(
            program,
            input_names=list(card.inputs),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert written is not None  # without a file name torch returns the program
    model = written.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = CHIPS
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model


@contextmanager
def _translated(card: Card, what: str) -> Iterator[None]:
    """Say in one sentence that a network cannot be exported; torch says it in many."""
    try:
        with warnings.catch_warnings():
            # Both exporters warn of their own insides, which a person cannot change.
            warnings.simplefilter("ignore")
            yield
    except Exception as err:  # raised again; torch has no one class for it
        cause = " ".join(str(err).split())[:200]
        model = card.model
        raise BundleError(
            f"model {card.name} ({model.architecture.name}, {model.activation.name}) cannot be "
            f"exported by {what}: use --runtime torch; the cause: {cause}"
        ) from err


def save_program(program: ExportedProgram, path: Path, text: str) -> None:
    """Write a program of torch with a text about it inside (`damagenet.json`)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path, extra_files={"damagenet.json": text})


def load_program(path: Path) -> torch.nn.Module:
    """Return what `save_program` wrote, to be called; only of files of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(path).module()
