"""The one path that predicts: chips in, calibrated probabilities of damage out."""

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from damagenet.bundle import Bundle
from damagenet.calibration import probabilities
from damagenet.devices import best_batch, resolve_device
from damagenet.errors import ConfigError
from damagenet.options import Runtime
from damagenet.runtimes.answers import Images
from damagenet.runtimes.choosing import forward_of
from models.dense import DenseTrunk, dense_trunk

__all__ = ["Images", "Predictor", "fused"]

RESNETS = ("torchvision.models.resnet", "models.transfer.residual_blocks")
"""Modules whose blocks call `bn1` with what `conv1` returns, and so on; named, as to import
torchvision takes a second."""
NetworkT = TypeVar("NetworkT", bound=nn.Module)


class Predictor:
    """Predicts with one bundle on one device.

    At equal device, runtime, batch size and threads the same chips give the same bits; otherwise
    their probabilities agree within 1e-5, but for the runtime bfloat16 and quantised bundles.

    Args:
        bundle: From `load_bundle`; its network stays as it is.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: Chips per forward pass; None takes what suits the device.
        runtime: What computes; ONNX Runtime takes the CPU where `auto` is asked for.

    Raises:
        ConfigError: If the batch size is below 1, or the runtime cannot be used here.
        BundleError: If the runtime cannot run the network, or answers otherwise than torch does.
        DeviceError: If the device is not there.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "auto",
        batch_size: int | None = None,
        runtime: Runtime = "torch",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self.bundle, self.runtime = bundle, runtime
        cpu_only = runtime == "onnx" and device == "auto"
        self.device = resolve_device("cpu" if cpu_only else device)
        self.batch_size = batch_size or best_batch(self.device) // len(bundle.card.inputs)
        self._network = network = fused(bundle.network).to(self.device)
        self._forward = forward_of(
            bundle, network, runtime=runtime, device=self.device, batch_size=self.batch_size
        )
        self._head = network.head
        self.features = network.head.in_features
        """Length of one embedding, F."""
        self._neighbours = bundle.neighbours and bundle.neighbours.to(self.device)

    def probabilities(self, images: tuple[Images, ...]) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities of damage, float64 (N,).

        Args:
            images: One array uint8 (N, 3, S, S) for each of the card's `inputs`, in order.

        Raises:
            ConfigError: If the number, shape or type of the images is not what the model takes.
        """
        return probabilities(self.logits(images), self.bundle.card.calibration)

    def logits(self, images: tuple[Images, ...]) -> npt.NDArray[np.float64]:
        """Return uncalibrated logits, float64 (N,); arguments and errors as `probabilities`."""
        return self.logits_and_distances(images)[0]

    def logits_and_distances(
        self, images: tuple[Images, ...]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return logits and distances to the training tiles, both float64 (N,).

        The distances are NaN where the bundle holds no tiles to compare with; arguments and errors
        as `probabilities`.
        """
        self.check(images)
        count = len(images[0])
        logits, distances = np.empty(count, np.float64), np.full(count, np.nan)
        with torch.inference_mode():
            for rows, batch in self._batches(images):
                answers = self._forward(batch)
                logits[rows] = answers.logits.cpu().numpy()
                if self._neighbours is not None:
                    found = self._neighbours.distances(answers.features)
                    distances[rows] = found.cpu().numpy()
        return logits, distances

    def embeddings(self, images: tuple[Images, ...]) -> npt.NDArray[np.float32]:
        """Return what the network's head sees of each chip, float32 (N, F); otherwise as `logits`.

        `head_logits` makes the same logits of it, so that one pass gives both.
        """
        self.check(images)
        out = np.empty((len(images[0]), self.features), np.float32)
        for rows, batch in self._batches(images):
            out[rows] = self._forward(batch).features.cpu().numpy()
        return out

    def head_logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the uncalibrated logits of embeddings (N, F), float64 (N,)."""
        with torch.inference_mode():
            features = torch.from_numpy(embeddings).to(self.device)
            logits = self._head(features).squeeze(1).cpu().numpy()
        return np.asarray(logits, np.float64)

    def distances(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the distances of embeddings (N, F) to the training tiles, float64 (N,).

        They are NaN where the bundle holds no tiles to compare with.
        """
        if self._neighbours is None:
            return np.full(len(embeddings), np.nan)
        with torch.inference_mode():
            features = torch.from_numpy(embeddings).to(self.device)
            return np.asarray(self._neighbours.distances(features).cpu().numpy(), np.float64)

    def dense_trunk(self) -> DenseTrunk | None:
        """Return the network's trunk for dense maps; None where windows cannot share its maps.

        Only torch runs it: any other runtime has the network as a whole.
        """
        card = self.bundle.card
        if self.runtime != "torch":
            return None
        return dense_trunk(self._network, card.model, card.chip.size_px)

    def _batches(self, images: tuple[Images, ...]) -> Iterator[tuple[slice, list[Images]]]:
        for start in range(0, len(images[0]), self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield rows, [image[rows] for image in images]

    def check(self, images: tuple[Images, ...]) -> None:
        """Raise ConfigError if number, shape or type of the images is not what the model takes."""
        inputs = self.bundle.card.inputs
        if len(images) != len(inputs):
            raise ConfigError(
                f"the model takes {len(inputs)} image(s) a chip ({', '.join(inputs)}), "
                f"got {len(images)}"
            )
        side = self.bundle.card.chip.size_px
        wanted = (len(images[0]), 3, side, side)
        for image in images:
            if image.dtype != np.uint8 or image.shape != wanted:
                raise ConfigError(
                    f"chips must be uint8 (N, 3, {side}, {side}), got {image.dtype} {image.shape}"
                )


def fused(network: NetworkT) -> NetworkT:
    """Return an evaluation copy with each batch norm folded into the convolution before it."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for first, second in _neighbours_of(module):
            conv, norm = module._modules[first], module._modules[second]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module._modules[first] = fuse_conv_bn_eval(conv, norm)
                module._modules[second] = nn.Identity()
    return network.to(memory_format=torch.channels_last)


def _neighbours_of(module: nn.Module) -> list[tuple[str, str]]:
    """Return the names of layers of which one's output goes to the other and nowhere else."""
    if isinstance(module, nn.Sequential):
        return list(pairwise(module._modules))
    if type(module).__module__ in RESNETS:
        names = [name for name in module._modules if name.startswith("conv")]
        return [(name, name.replace("conv", "bn")) for name in names]
    return []
