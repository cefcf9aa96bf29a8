"""One architecture measured: parameters, multiply-adds, time, and peak memory in a process."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from damagenet.recipe import Choice, ModelSettings, TrainingSettings
from damagenet.training.lightning_module import DamageModule
from models.classifier import Classifier
from models.factory import build_network
from models.optimisers import build_optimizer

PIXEL_MEAN, PIXEL_STD = (100.0, 110.0, 90.0), (40.0, 50.0, 60.0)
FORWARD, TRAINING = "forward", "training"
STEPS = (FORWARD, TRAINING)
"""What a batch goes through: forward alone, or a whole training step with AdamW."""
LOSSES: dict[str, Choice] = {"mocapsnet": Choice(name="margin")}
"""Loss of the architectures that are not trained with the usual one."""
IMPORTED = ["damagenet.training.lightning_module", "models.factory", "torchvision"]
"""What processes that measure memory have loaded before they begin."""
ROUND_S = 0.3
"""In a round a step is repeated for about so long at least, and its mean is taken."""


def parameters(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: Classifier, size_px: int) -> int:
    """Return the multiply-adds of one chip in convolutions and matrix products.

    torch counts them, two operations each; norms, activations, pooling and sums are not counted.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(made_chips(1, size_px))
    return int(counter.get_total_flops()) // 2


def build(architecture: Choice, size_px: int) -> Classifier:
    """Return a network of fresh weights."""
    torch.manual_seed(0)
    settings = ModelSettings(architecture=architecture)
    return build_network(settings, pixel_mean=PIXEL_MEAN, pixel_std=PIXEL_STD, size_px=size_px)


def made_chips(chips: int, size_px: int) -> torch.Tensor:
    """Return noise, uint8 (chips, 3, size_px, size_px)."""
    return torch.randint(0, 256, (chips, 3, size_px, size_px), dtype=torch.uint8)


class Bench:
    """A network that takes batches, one step at a time.

    Args:
        architecture: Name and parameters.
        size_px: Side of the chips.
    """

    def __init__(self, architecture: Choice, size_px: int) -> None:
        self.network = build(architecture, size_px)
        loss = LOSSES.get(architecture.name, TrainingSettings().loss)
        self.module = DamageModule(self.network, TrainingSettings(loss=loss))
        self.size_px = size_px
        self._optimizer: Optimizer | None = None

    def step(self, name: str, chips: int) -> Callable[[], None]:
        """Return what takes a batch of so many chips once, forward or in training."""
        images = made_chips(chips, self.size_px)
        labels = (torch.arange(chips) % 2).float()
        return {
            FORWARD: lambda: self._forward(images),
            TRAINING: lambda: self._train(images, labels),
        }[name]

    def _forward(self, images: torch.Tensor) -> None:
        self.network.eval()
        with torch.inference_mode():
            self.network(images)

    def _train(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        if self._optimizer is None:
            self._optimizer = build_optimizer(TrainingSettings().optimizer, self.network)
        self.module.train()
        self._optimizer.zero_grad()
        self.module.training_step(((images,), labels), 0).backward()
        self._optimizer.step()


class Clock:
    """Times one step of one network, again and again."""

    def __init__(self, step: Callable[[], None], chips: int) -> None:
        """Take the step once, and settle how often a round repeats it."""
        self.step, self.chips = step, chips
        self.rates: list[float] = []
        """Chips per second, round by round."""
        step()
        self.repeats = max(1, math.ceil(ROUND_S / self._seconds(1)))

    def round(self) -> None:
        """Time one round."""
        self.rates.append(self.chips * self.repeats / self._seconds(self.repeats))

    def _seconds(self, repeats: int) -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            self.step()
        return time.perf_counter() - started


def peak_bytes(architecture: Choice, step: str, *, chips: int, size_px: int) -> int:
    """Return the peak of resident memory of one step above the imports, in a fresh process."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak_here, architecture, step, chips, size_px).result()


def _peak_here(architecture: Choice, step: str, chips: int, size_px: int) -> int:
    # Imports what only this architecture needs, and starts torch's threads and kernels.
    with torch.device("meta"):
        build(architecture, size_px)
    nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 8, 8)).sum().backward()
    before = _highest_resident_bytes()
    Bench(architecture, size_px).step(step, chips)()
    return _highest_resident_bytes() - before


def _highest_resident_bytes() -> int:
    """Return the peak of this process's resident memory (Linux).

    `ru_maxrss` would say that of the process that started this one, where it was larger.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
