"""Layers of capsules: every capsule votes for those above it, which take what votes agree on.

A capsule is a vector whose length, below 1, says how sure it is that its thing is there (Sabour,
Frosst and Hinton 2017, arXiv:1710.09829).
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from damagenet.errors import ConfigError

SMALL = 0.01
"""Standard deviation of the weights at the start."""
SDA_OFFSET = 0.1
SDA_SHARE = 0.9
"""Coupling of a capsule whose vote lies at half the mean distance, the others at the mean."""
TINY = 1e-12

Agreement = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes logits (N, I, J), votes (N, I, J, P) and outputs (N, J, P); returns new logits."""


def squash(vectors: torch.Tensor) -> torch.Tensor:
    """Shorten vectors (..., P) of length n to n^2 / (1 + n^2), in their direction.

    Nothing is divided by a length, so that the zero vector stays zero and its gradient is zero.
    """
    length = lengths(vectors).unsqueeze(-1)
    return vectors * (length / (1 + length * length))


def lengths(vectors: torch.Tensor) -> torch.Tensor:
    """Return the lengths (...) of vectors (..., P); of the zero vector the gradient is zero."""
    result: torch.Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return result


def dot_product(logits: torch.Tensor, votes: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Add the dot products of votes and outputs: routing by agreement."""
    return logits + torch.einsum("nijp,njp->nij", votes, outputs)


def scaled_distance(
    logits: torch.Tensor, votes: torch.Tensor, outputs: torch.Tensor
) -> torch.Tensor:
    """Return logits that fall with the distance of a vote from the output.

    The scale gives a vote at half the image's mean distance `SDA_SHARE` of the coupling, where
    all other distances are the mean.
    """
    del logits
    distance = lengths(votes - outputs.unsqueeze(1))
    # The mean is that of one image: of a batch, a verdict would depend on its neighbours.
    mean = distance.mean(dim=(1, 2), keepdim=True).clamp_min(TINY)
    wanted = math.log(SDA_SHARE * (votes.shape[2] - 1) / (1 - SDA_SHARE))
    return -2 * wanted * distance / mean


AGREEMENTS: dict[str, Agreement] = {"rba": dot_product, "sda": scaled_distance}


class CapsuleLayer(nn.Module):
    """Routes capsules (N, I, D) to capsules (N, J, P)."""

    def __init__(
        self,
        inputs: tuple[int, int],
        outputs: tuple[int, int],
        *,
        routing: str = "rba",
        iterations: int = 3,
        spread: float = SMALL,
    ) -> None:
        """Draw the weights.

        Args:
            inputs: Number and dimension of the capsules that enter, I and D.
            outputs: Those of the capsules that leave, J and P; J is at least 2.
            routing: A name of `AGREEMENTS`. `sda` also adds a trained offset to what is squashed,
                and lets no vote be longer than the capsule that gives it.
            iterations: Rounds of routing; in the first all couplings are 1 / J.
            spread: Standard deviation of the weights.

        Raises:
            ConfigError: If the routing is unknown or there is no round.
        """
        super().__init__()
        if routing not in AGREEMENTS:
            choices = ", ".join(AGREEMENTS)
            raise ConfigError(f"unknown routing {routing!r}; choose one of: {choices}")
        if iterations < 1:
            raise ConfigError(f"routing needs at least 1 iteration, got {iterations}")
        (count_in, dimension_in), self.outputs = inputs, outputs
        self.agreement = AGREEMENTS[routing]
        self.iterations = iterations
        # Three axes: of four torch would permute them in memory with the convolutions' kernels.
        self.weight = nn.Parameter(
            spread * torch.randn(count_in, dimension_in, outputs[0] * outputs[1])
        )
        self.offset = nn.Parameter(torch.full(outputs, SDA_OFFSET)) if routing == "sda" else None

    def forward(self, capsules: torch.Tensor) -> torch.Tensor:
        """Return capsules (N, J, P) of lengths below 1, of capsules (N, I, D).

        Gradients flow through the votes of the last round alone.
        """
        votes = self.votes(capsules)
        couplings = self.couplings(votes.detach())
        return self._outputs(couplings, votes)

    def votes(self, capsules: torch.Tensor) -> torch.Tensor:
        """Return what each capsule says of those above, (N, I, D) -> (N, I, J, P)."""
        votes = torch.bmm(capsules.transpose(0, 1), self.weight).transpose(0, 1)
        votes = votes.view(*votes.shape[:2], *self.outputs)
        if self.offset is None:
            return votes
        allowed = lengths(capsules).unsqueeze(2) / lengths(votes).clamp_min(TINY)
        return votes * allowed.clamp_max(1).unsqueeze(3)

    @torch.no_grad()
    def couplings(self, votes: torch.Tensor) -> torch.Tensor:
        """Return how much each capsule gives to those above, (N, I, J); over J they sum to 1."""
        logits = votes.new_zeros(votes.shape[:3])
        for _ in range(self.iterations - 1):
            outputs = self._outputs(logits.softmax(dim=2), votes)
            logits = self.agreement(logits, votes, outputs)
        return logits.softmax(dim=2)

    def _outputs(self, couplings: torch.Tensor, votes: torch.Tensor) -> torch.Tensor:
        together = torch.einsum("nij,nijp->njp", couplings, votes)
        return squash(together if self.offset is None else together + self.offset)
