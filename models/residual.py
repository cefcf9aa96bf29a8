"""The place in a residual block where its branch meets what goes around it."""

from collections.abc import Callable

import torch
from torch import nn

Branch = Callable[[torch.Tensor], torch.Tensor]


class Sum(nn.Module):
    """Adds a block's residual branch to its shortcut (He et al. 2016, arXiv:1512.03385).

    A block that holds one as `join` can have its branch skipped: see `models.stochastic_depth`.
    """

    def forward(
        self, branch: Branch, features: torch.Tensor, carried: torch.Tensor
    ) -> torch.Tensor:
        """Return what the branch makes of the features plus what the shortcut has carried.

        Args:
            branch: (N, C, H, W) -> the shape of `carried`.
            features: What enters the branch.
            carried: What came through the shortcut.
        """
        return branch(features) + carried
