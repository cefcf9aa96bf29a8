"""Layers that see a batch as one process would see it, where several processes share it.

Batch norms take the statistics of the whole batch, and dropout draws for all of it. torch's own
`SyncBatchNorm` does the first for GPUs alone, and takes the activation away from timm's norms.
This one does the same sums on every device, so that what two processes on a CPU are tested with is
what many GPUs train with.
"""

from typing import Any

import torch
from torch import distributed, nn
from torch.autograd import Function
from torch.nn import functional as F

from damagenet.errors import ConfigError


def share_batches(network: nn.Module) -> None:
    """Let the batch norms and dropouts of a network, in place, work on batches that are shared.

    Modules stay the objects that they are, whoever holds them, and so do weights and their names.

    Raises:
        ConfigError: If it has batch norms of another kind.
    """
    norms = nn.modules.batchnorm._BatchNorm
    for part in network.modules():
        # They become another class as torch's own lazy modules do.
        if type(part) in (nn.BatchNorm2d, SharedBatchNorm2d):
            part.__class__ = SharedBatchNorm2d
        elif type(part) in (nn.Dropout, SharedDropout):
            part.__class__ = SharedDropout
        elif isinstance(part, norms):
            raise ConfigError(
                f"the network has norms of the kind {type(part).__name__}, whose statistics "
                "processes cannot share: train it on one device"
            )


class SharedDropout(nn.Dropout):
    """Dropout that draws for the rows of all processes, and keeps its own.

    Processes that draw from the same seed so do together what one process would do. Row j of
    process r is row `j * processes + r` of the whole batch, as `training.data.Shuffled` deals.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Drop features (N, ...) by chance, in training."""
        if not self.training or self.p == 0:
            return features
        processes = distributed.get_world_size()
        # Torch draws in the order of the memory.
        layout = torch.contiguous_format
        if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
            layout = torch.channels_last
        shape = (len(features) * processes, *features.shape[1:])
        ones = features.new_ones(shape).contiguous(memory_format=layout)
        return features * F.dropout(ones, self.p)[distributed.get_rank() :: processes]


class SharedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm over the features (N, C, H, W) of all processes; N is the same in each."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise, and in training let the running statistics follow the whole batch."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(features)
        mean, var = _whole_moments(features.detach())
        with torch.no_grad():
            share = self._share()
            count = distributed.get_world_size() * features.numel() / features.shape[1]
            # The running variance is that of the population, as torch's batch norm keeps it.
            population = var * (count / max(count - 1, 1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_var.lerp_(population.to(self.running_var.dtype), share)
        statistics = torch.stack([mean, (var + self.eps).rsqrt()])
        made: torch.Tensor = _Normalised.apply(features, self.weight, self.bias, statistics)
        return made

    def _share(self) -> float:
        """Count the batch, and return its share in the running statistics."""
        if self.num_batches_tracked is None:
            return self.momentum or 0.0
        self.num_batches_tracked.add_(1)
        return 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum


class _Normalised(Function):
    """Features normalised by statistics that depend on the features of all processes.

    The gradient is that of Ioffe and Szegedy (arXiv:1502.03167) with the sums over all processes:
    that of the sum of their losses, of which DDP takes the mean.
    """

    @staticmethod
    def forward(
        ctx: Any,  # Any: torch gives contexts no type
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        statistics: torch.Tensor,
    ) -> torch.Tensor:
        """Return the features (N, C, H, W) normalised, times weight, plus bias.

        The statistics are the mean and one over the deviation, (2, C).
        """
        ctx.save_for_backward(features, weight, statistics)
        mean, scale = statistics
        gain = scale * weight
        made = features * _across(gain) + _across(bias - mean * gain)
        return made.to(features.dtype)

    @staticmethod
    def backward(
        ctx: Any, given: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """Return the gradients of features, weight and bias."""
        features, weight, (mean, scale) = ctx.saved_tensors
        normal = (features - _across(mean)) * _across(scale)
        gradient = given.to(normal.dtype)
        own = torch.stack([gradient.sum((0, 2, 3)), (gradient * normal).sum((0, 2, 3))])
        means = own.clone()
        distributed.all_reduce(means)
        means /= distributed.get_world_size() * features.numel() / features.shape[1]
        centred = gradient - _across(means[0]) - normal * _across(means[1])
        passed = (centred * _across(scale * weight)).to(features.dtype)
        return passed, own[1].to(weight.dtype), own[0].to(weight.dtype), None


def _whole_moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance (C,) over all processes, in single precision or better."""
    own = features.float() if features.dtype.itemsize < 4 else features
    var, mean = torch.var_mean(own, (0, 2, 3), correction=0)
    # The square of the mean is taken away again: doubles keep what is left of it exact.
    moments = torch.stack([mean, var]).double()
    moments[1] += moments[0].square()
    distributed.all_reduce(moments)
    moments /= distributed.get_world_size()
    moments[1] -= moments[0].square()
    whole = moments.to(own.dtype)
    return whole[0], whole[1].clamp_min(0)


def _across(channels: torch.Tensor) -> torch.Tensor:
    """Return (C,) as (C, 1, 1)."""
    return channels[:, None, None]
