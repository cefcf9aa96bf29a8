"""ONNX Runtime on the CPU: a session, and a network as a model for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from damagenet.devices import MAX_CREW
from damagenet.errors import BundleError, ConfigError
from damagenet.runtimes.answers import Answers, Forward, Images
from damagenet.runtimes.exported import INSTALL, OUTPUTS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def require_onnx_runtime() -> None:
    """Raise ConfigError, with what installs it, where ONNX Runtime is not installed."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as err:
        raise ConfigError(f"ONNX Runtime is not installed: {INSTALL}") from err


def onnx_forward(model: bytes | Path, inputs: Sequence[str]) -> Forward:
    """Return the forward pass of an ONNX model; it may be called from several threads.

    Args:
        model: Content of the file, or its path.
        inputs: Names of the images, in order.

    Raises:
        ConfigError: If ONNX Runtime is not installed.
        BundleError: If it cannot read the model, or the model takes or returns something else.
    """
    session = _session(model)
    found = [value.name for value in session.get_inputs()]
    if found != list(inputs) or [value.name for value in session.get_outputs()] != list(OUTPUTS):
        raise BundleError(
            f"the ONNX model takes {', '.join(found)}, and the card names {', '.join(inputs)}: "
            "export it again with `damagenet export`"
        )

    def forward(images: Sequence[Images]) -> Answers:
        arrays = session.run(OUTPUTS, dict(zip(inputs, images, strict=True)))
        return Answers(*(torch.from_numpy(array) for array in arrays))

    return forward


def _session(model: bytes | Path) -> "InferenceSession":
    require_onnx_runtime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    threads = torch.get_num_threads()
    # Batches run side by side (`devices.crew_of`), each in a thread of its own that works along;
    # what is left over is shared by all of them.
    options.intra_op_num_threads = threads - min(threads, MAX_CREW) + 1
    options.inter_op_num_threads = 1
    # Waiting threads would take the processor from those that read.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # raised again; its classes share no public base
        cause = " ".join(str(err).split())[:200]
        raise BundleError(
            f"ONNX Runtime cannot read the model ({cause}): export it again with `damagenet export`"
        ) from err
