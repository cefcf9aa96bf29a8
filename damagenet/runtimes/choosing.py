"""The forward pass of a bundle by the runtime that is asked for."""

import logging

import torch

from damagenet.bundle import Bundle
from damagenet.errors import ConfigError
from damagenet.options import Runtime
from damagenet.runtimes.answers import Answering, Forward, torch_forward
from damagenet.runtimes.compiled import compiled
from damagenet.runtimes.cuda import Network, cuda_forward
from damagenet.runtimes.export_record import exported_onnx
from damagenet.runtimes.exported import exported_program, onnx_model
from damagenet.runtimes.onnx_runtime import onnx_forward, require_onnx_runtime
from damagenet.runtimes.parity import require_parity, trial_chips
from damagenet.runtimes.precision import in_bfloat16, keep_float32
from models.classifier import Classifier

logger = logging.getLogger(__name__)


def forward_of(
    bundle: Bundle, network: Classifier, *, runtime: Runtime, device: torch.device, batch_size: int
) -> Forward:
    """Return the forward pass of a network for batches of at most a size.

    What computes in float32 is compared to the network in torch first.

    Args:
        bundle: The network's bundle.
        network: Fused, in evaluation mode, on the device.
        runtime: What computes.
        device: Where; ONNX Runtime stays on the CPU.
        batch_size: Chips per call, at most.

    Raises:
        ConfigError: If the runtime is not installed or cannot be used on the device.
        BundleError: If the network cannot be exported, its exported file was altered, or the
            runtime answers otherwise than torch does.
    """
    answering = Answering(network)
    if runtime == "onnx":
        return _onnx(bundle, answering, device)
    keep_float32()
    plain = _on_device(answering, bundle, device, batch_size)
    if runtime == "bfloat16":
        return _on_device(in_bfloat16(answering, device), bundle, device, batch_size)
    if runtime == "compile":
        example = tuple(torch.from_numpy(image).to(device) for image in trial_chips(bundle.card))
        other = _on_device(compiled(answering, example), bundle, device, batch_size)
        require_parity(bundle.card, plain, other, what="the compiled network")
        return other
    return plain


def _on_device(network: Network, bundle: Bundle, device: torch.device, batch_size: int) -> Forward:
    if device.type == "cpu":
        return torch_forward(network)
    size = bundle.card.chip.size_px
    shapes = [(batch_size, 3, size, size) for _ in bundle.card.inputs]
    return cuda_forward(network, shapes, device)


def _onnx(bundle: Bundle, answering: Answering, device: torch.device) -> Forward:
    """Return the network in ONNX Runtime, from its exported file or exported now."""
    if device.type != "cpu":
        raise ConfigError(f"--runtime onnx computes on the CPU, not on {device}: pass --device cpu")
    require_onnx_runtime()
    card = bundle.card
    file = exported_onnx(bundle)
    if file is not None and card.quantized is not None:
        # Another network than the one in torch: how far off it is was measured at export.
        return onnx_forward(file, card.inputs)
    if file is None:
        logger.info("exporting %s to ONNX; `damagenet export` keeps it for the next run", card.name)
        model = onnx_model(exported_program(answering, card), card).SerializeToString()
    forward = onnx_forward(model if file is None else file, card.inputs)
    require_parity(card, torch_forward(answering), forward, what="the ONNX model")
    return forward
