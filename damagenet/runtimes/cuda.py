"""One GPU: uint8 over the bus, and the whole network launched as one CUDA graph.

Every thread that asks gets a lane of its own: a stream, page-locked memory and a graph for the
fixed batch size. With two threads one batch is copied while the other is computed.
"""

import logging
import threading
from collections.abc import Callable, Sequence

import torch

from damagenet.runtimes.answers import Answers, Forward, Images

logger = logging.getLogger(__name__)

Network = Callable[..., tuple[torch.Tensor, torch.Tensor]]
WARM_UP = 3
"""Passes before the capture, in which cuDNN and cuBLAS choose their kernels and workspaces."""


def cuda_forward(
    network: Network, shapes: Sequence[tuple[int, ...]], device: torch.device
) -> Forward:
    """Return a forward pass for batches of at most one size; shorter ones are padded.

    Args:
        network: On the device; images uint8 -> logits and features.
        shapes: (batch size, 3, S, S) for each image.
        device: A GPU.
    """
    lanes, building = threading.local(), threading.Lock()

    def forward(images: Sequence[Images]) -> Answers:
        if not hasattr(lanes, "own"):
            # One at a time: memory that another thread allocates would spoil a capture.
            with building:
                lanes.own = _Lane(network, shapes, device)
        own: _Lane = lanes.own
        return own.run(images)

    return forward


class _Lane:
    """What one thread needs to run batches: see https://docs.pytorch.org/docs/stable/notes/cuda.html."""

    def __init__(
        self, network: Network, shapes: Sequence[tuple[int, ...]], device: torch.device
    ) -> None:
        self.network = network
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it so
        self.pinned = [torch.zeros(shape, dtype=torch.uint8, pin_memory=True) for shape in shapes]
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            self.inputs = [memory.to(device) for memory in self.pinned]
            for _ in range(WARM_UP):
                self.outputs = network(*self.inputs)
            self.stream.synchronize()
            self.graph = self._captured()

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        """Return the network as one graph; None where it decides things on the CPU midway."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.outputs = self.network(*self.inputs)
        except RuntimeError as err:
            logger.info("the network runs without a CUDA graph: %s", str(err).splitlines()[0])
            return None
        return graph

    def run(self, images: Sequence[Images]) -> Answers:
        """Return the answers for at most a whole batch; good until the next call."""
        count = len(images[0])
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            for image, pinned, held in zip(images, self.pinned, self.inputs, strict=True):
                pinned[:count].copy_(torch.from_numpy(image))
                held[:count].copy_(pinned[:count], non_blocking=True)
            if self.graph is None:
                self.outputs = self.network(*self.inputs)
            else:
                self.graph.replay()
            # The caller goes on with them on its own stream.
            self.stream.synchronize()
        logits, features = self.outputs
        return Answers(logits[:count], features[:count])
