"""S-ResNet, the spiking residual network (Vicente-Sola et al. 2022, arXiv:2111.05955).

The published network with event input (two channels of a neuromorphic camera) is not here, as
there are no events of houses.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils import checkpoint as checkpoints

from damagenet.errors import BundleError
from models.activations import ActivationMaker
from models.cnn import convolution
from models.spiking.coding import Coding, PoissonCoding
from models.spiking.head import VotingHead
from models.spiking.neurons import LeakyNeurons
from models.spiking.norm import NormThroughTime, resting_statistics

SMALLEST_PX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """What all layers of a network do over time; see `sresnet`."""

    time_steps: int
    leak: float
    threshold: float


class SpikingLayer(nn.Module):
    """A 3x3 convolution, a norm for each time step, and neurons."""

    def __init__(
        self, channels_in: int, channels: int, *, stride: int = 1, dynamics: Dynamics
    ) -> None:
        super().__init__()
        self.conv = convolution(channels_in, channels, stride=stride)
        self.norm = NormThroughTime(channels, dynamics.time_steps)
        self.neurons = LeakyNeurons(leak=dynamics.leak, threshold=dynamics.threshold)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return spikes (T * N, C, H / stride, W / stride) of features (T * N, C_in, H, W)."""
        return self._spikes(_over_time(self.conv(features), len(self.norm)))

    def at_every_step(self, images: torch.Tensor) -> torch.Tensor:
        """Return the spikes of images (N, C_in, H, W) that come in unchanged at every step."""
        # What the convolution makes of them is the same each time.
        return self._spikes([self.conv(images)] * len(self.norm))

    def _spikes(self, steps: Sequence[torch.Tensor]) -> torch.Tensor:
        spikes: torch.Tensor = self.neurons(self.norm(steps))
        return spikes


class SpikingShortcut(nn.Module):
    """A 1x1 convolution and a norm for each time step, without neurons."""

    def __init__(self, channels_in: int, channels: int, stride: int, time_steps: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = convolution(channels_in, channels, size=1)
        self.norm = NormThroughTime(channels, time_steps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (T * N, C, H / stride, W / stride) of features (T * N, C_in, H, W)."""
        # A stride in the convolution itself crashes torch 2.14 below nine channels (oneDNN).
        every = features[..., :: self.stride, :: self.stride]
        return torch.cat(list(self.norm(_over_time(self.conv(every), len(self.norm)))))


class SpikingBlock(nn.Module):
    """Two spiking layers, whose block input is added to the spikes that come out."""

    def __init__(self, channels_in: int, channels: int, stride: int, dynamics: Dynamics) -> None:
        super().__init__()
        self.first = SpikingLayer(channels_in, channels, stride=stride, dynamics=dynamics)
        self.second = SpikingLayer(channels, channels, dynamics=dynamics)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = SpikingShortcut(channels_in, channels, stride, dynamics.time_steps)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (T * N, C, H / stride, W / stride) of features (T * N, C_in, H, W)."""
        result: torch.Tensor = self.second(self.first(features)) + self.shortcut(features)
        return result


class SpikingStage(nn.Sequential):
    """Blocks in a row.

    It is called whole, so that hooks on it see what enters (`models.standardise`).
    """

    def __init__(self, blocks: Iterable[SpikingBlock], *, checkpointed: bool) -> None:
        super().__init__(*blocks)
        self.checkpointed = checkpointed

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return what comes out of the last block."""
        for block in self:
            features = self._through(block, features)
        return features

    def _through(self, block: nn.Module, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor
        if self.checkpointed and torch.is_grad_enabled():
            result = checkpoints.checkpoint(
                block,
                features,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=partial(_once_counted, block),
            )
        else:
            result = block(features)
        return result


class SpikingResNet(nn.Module):
    """Normalised images (N, C, H, W) to what the last neurons say on average (N, 4 * width).

    Layer by layer instead of step by step: no layer feeds one before it, so that each
    convolution takes all time steps at once.
    """

    def __init__(
        self,
        channels_in: int,
        *,
        size_px: int,
        n: int,
        width: int,
        stem_stride: int,
        coding: Coding,
        checkpointed: bool,
        dynamics: Dynamics,
    ) -> None:
        """Make the layers; the arguments are those of `sresnet`."""
        super().__init__()
        self.time_steps = dynamics.time_steps
        self.coding = (
            PoissonCoding(dynamics.time_steps, channels_in, size_px)
            if coding == "poisson"
            else None
        )
        self.stem = SpikingLayer(channels_in, width, stride=stem_stride, dynamics=dynamics)
        stage = partial(_stage, n, dynamics=dynamics, checkpointed=checkpointed)
        self.stage1 = stage(width, width)
        self.stage2 = stage(width, 2 * width)
        self.stage3 = stage(2 * width, 4 * width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the averages over time and place."""
        if self.coding is None:
            features = self.stem.at_every_step(images)
        else:
            features = self.stem(self.coding(images))
        features = self.stage3(self.stage2(self.stage1(features)))
        pooled: torch.Tensor = features.mean(dim=(2, 3))
        return pooled.view(self.time_steps, -1, pooled.shape[1]).mean(dim=0)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, torch.Tensor],
        prefix: str,
        *args: Any,  # Any: torch's own
    ) -> None:
        scale = re.compile(re.escape(f"{prefix}stem.norm.") + r"\d+\.weight")
        trained = sum(scale.fullmatch(name) is not None for name in state_dict)
        if trained not in (0, self.time_steps):
            raise BundleError(
                f"the weights were trained for {trained} time steps, its card says "
                f"{self.time_steps}: there are no statistics for others; copy the bundle again"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _stage(
    n: int, channels_in: int, channels: int, *, dynamics: Dynamics, checkpointed: bool
) -> SpikingStage:
    stride = 1 if channels_in == channels else 2
    first = SpikingBlock(channels_in, channels, stride, dynamics)
    others = [SpikingBlock(channels, channels, 1, dynamics) for _ in range(n - 1)]
    return SpikingStage([first, *others], checkpointed=checkpointed)


def _once_counted(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds a block the first time, and when it is computed again."""
    return nullcontext(), resting_statistics(block)


def _over_time(features: torch.Tensor, time_steps: int) -> tuple[torch.Tensor, ...]:
    """Return the time steps (N, C, H, W) of features (T * N, C, H, W)."""
    return features.view(time_steps, -1, *features.shape[1:]).unbind(0)


def sresnet(
    *,
    channels_in: int,
    size_px: int,
    make: ActivationMaker | None,
    n: int = 6,
    width: int = 32,
    time_steps: int = 8,
    leak: float = 0.874,
    threshold: float = 1.0,
    coding: Coding = "direct",
    boosting: bool = False,
    stem_stride: int = 2,
    checkpoint: bool = False,
) -> tuple[nn.Module, int]:
    """Return the features of the spiking residual network, 6n + 2 layers deep, and their number.

    The paper adds up over time what a linear layer makes of each step's pooled features, and
    divides by T. That layer is linear, so its input is averaged here instead: the head makes the
    same voltage of it.

    Args:
        channels_in: Bands of all images of a chip together.
        size_px: Side of the usual chips; any other will do.
        make: Not needed: neurons are the activation.
        n: Blocks in each of three stages.
        width: Channels of the first stage; the others have 2 and 4 times as many.
        time_steps: How often the network sees a chip, T; trained and asked alike, as every step
            has batch norms of its own. Published: 50.
        leak: Share of its voltage that a neuron keeps, 0..1.
        threshold: Voltage above which a neuron spikes, above 0.
        coding: `direct` feeds the picture at every step, `poisson` random spikes of it.
        boosting: Of the head; see `sresnet_head`.
        stem_stride: Stride of the first convolution; published for 32 px: 1.
        checkpoint: Keep what enters a block only, and compute it again in backward: in
            training a third of the memory at n = 6, for about twice the time.
    """
    del make, boosting
    features = SpikingResNet(
        channels_in,
        size_px=size_px,
        n=n,
        width=width,
        stem_stride=stem_stride,
        coding=coding,
        checkpointed=checkpoint,
        dynamics=Dynamics(time_steps=time_steps, leak=leak, threshold=threshold),
    )
    return features, 4 * width


def sresnet_head(features: int, *, boosting: bool = False, **others: object) -> nn.Linear:
    """Return the head of the spiking residual network; unlike the paper's it has a bias.

    Args:
        features: Their number.
        boosting: Average ten votes instead of taking one.
        others: What the features take.
    """
    del others
    return VotingHead(features) if boosting else nn.Linear(features, 1)
