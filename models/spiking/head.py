"""The boosted head: ten votes for one logit."""

from typing import Any

import torch
from torch import nn

VOTES = 10


class VotingHead(nn.Linear):
    """Averages ten linear outputs (the boosting of arXiv:2111.05955, AvgPool1d(10, 10)).

    A head of one output computes the same; ten start nearer to zero and learn more slowly.
    """

    def __init__(self, features: int) -> None:
        """Make the votes over so many features."""
        super().__init__(features, VOTES)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1) of features (N, F)."""
        return super().forward(features).mean(dim=1, keepdim=True)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, torch.Tensor],
        prefix: str,
        *args: Any,  # Any: torch's own
    ) -> None:
        # A bundle that was adapted to labels has a head of one output: ten votes that agree.
        for name, wanted in (("weight", self.weight), ("bias", self.bias)):
            given = state_dict.get(prefix + name)
            if given is not None and given.shape[:1] == (1,):
                state_dict[prefix + name] = given.expand_as(wanted)
        super()._load_from_state_dict(state_dict, prefix, *args)
