"""The devices and machines that a training is shared by, one process on each device."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

from damagenet.errors import ConfigError, DeviceError
from damagenet.recipe import Recipe
from damagenet.training.head import is_solver

Accelerator = Literal["auto", "cpu", "gpu"]

MEETING_PLACES = ("MASTER_ADDR", "SLURM_JOB_ID", "LSB_JOBID")
"""Variables of the environment that tell machines where to meet, by hand or by a scheduler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """On how many devices and machines a training runs.

    Attributes:
        devices: GPUs, or processes on a CPU, of each machine.
        nodes: Machines.
        accelerator: What a device is; `auto` is a GPU where there is one.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: Accelerator = "auto"

    @property
    def processes(self) -> int:
        """Number of processes that share the work."""
        return self.devices * self.nodes

    @property
    def on_gpu(self) -> bool:
        """Whether the devices are GPUs."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    def share_of(self, batch_size: int) -> int:
        """Return how many tiles of a batch each process takes.

        Raises:
            ConfigError: If they cannot share it evenly.
        """
        share, rest = divmod(batch_size, self.processes)
        if rest or not share:
            raise ConfigError(
                f"a batch of {batch_size} tiles cannot be shared by {self.processes} processes "
                f"(--devices {self.devices}, --nodes {self.nodes}): set training.batch_size, the "
                "tiles of all processes together, to a multiple of that, with enough tiles to "
                "train on"
            )
        return share


def check_hardware(hardware: Hardware, recipe: Recipe) -> None:
    """Check that a recipe can be trained on the hardware, before any data is read.

    Raises:
        ConfigError: If the processes cannot share its batches, or would not find each other.
        DeviceError: If the machine lacks the devices.
    """
    training = recipe.training
    if hardware.processes > 1:
        if is_solver(training.optimizer):
            raise ConfigError(
                f"training.optimizer {training.optimizer.name!r} solves for the head at once, in "
                "one process: leave --devices and --nodes out"
            )
        hardware.share_of(training.batch_size)
    if hardware.nodes > 1 and not any(name in os.environ for name in MEETING_PLACES):
        raise ConfigError(
            f"--nodes {hardware.nodes}: the machines do not know where to meet: start the command "
            "on each by torchrun or SLURM, or with MASTER_ADDR, MASTER_PORT and NODE_RANK set"
        )
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = hardware.accelerator == "gpu" or hardware.on_gpu
    if wanted and hardware.devices > found:
        raise DeviceError(
            f"{hardware.devices} GPU(s) were asked for (--devices), this machine has {found}: "
            "name fewer, or use --accelerator cpu"
        )
