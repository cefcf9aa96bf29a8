"""How strange a scene looks to a network: the distance of its chips to the training tiles.

A chip's distance is that to its tenth nearest of 2,000 training tiles, between the directions of
their features (Sun et al. 2022, arXiv:2204.06507), within the 64 axes that hold most of them. A
scene's strangeness is the mean over its judged chips, in the unit of what held-out ground of the
training's own satellite passes shows. It does not say that the verdicts are wrong, nor a low one
that they are right.

Selected on the published Harvey tiles, the Houston scenes and the xBD scenes, with the shipped
model: Mahalanobis distances did not tell the held-out pass over Victoria from the passes that were
trained on (0 to 12 % of its blocks beyond the limit, here all of them).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from damagenet.card import Card, Strangeness
from damagenet.errors import BundleError

NEIGHBOURS_FILE = "neighbours.safetensors"
MOST_TILES = 2_000
MOST_AXES = 64
NEAREST = 10
BLOCK_TILES = 20
"""Tiles that a block of held-out ground must hold to count."""
MIN_BLOCKS = 5
"""Fewer blocks say nothing of what is usual."""
SHARE_BELOW = 0.95
"""Share of the held-out blocks that lie below the limit."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """The training tiles that chips are compared to.

    Attributes:
        axes: Where most of the features lie, float32 (F, D).
        directions: Of R training tiles along these axes, of length 1, float32 (R, D).
    """

    axes: torch.Tensor
    directions: torch.Tensor

    @classmethod
    def of(cls, features: torch.Tensor) -> Self:
        """Return the neighbours that training tiles are, float32 (N, F); 2,000 at the most."""
        units = F.normalize(features.double(), dim=1)
        _, vectors = torch.linalg.eigh(units.T @ units)
        axes = vectors[:, -MOST_AXES:].contiguous().half().float()
        kept = np.linspace(0, len(units) - 1, min(len(units), MOST_TILES)).astype(np.int64)
        directions = F.normalize(units[torch.from_numpy(kept)].float() @ axes, dim=1)
        # As they are stored, so that what is measured now is measured again later.
        return cls(axes=axes, directions=directions.half().float())

    def joined(self, features: torch.Tensor) -> "Neighbours":
        """Return the same with more chips to be near to, by their features (N, F)."""
        units = F.normalize(features.double(), dim=1).float()
        directions = F.normalize(units @ self.axes, dim=1).half().float()
        return Neighbours(axes=self.axes, directions=torch.cat([self.directions, directions]))

    def as_bytes(self) -> bytes:
        """Return the file that `read_neighbours` reads, in half precision."""
        from safetensors.torch import save

        return save({"axes": self.axes.half(), "directions": self.directions.half()})

    def to(self, device: torch.device) -> "Neighbours":
        """Return them on a device."""
        return Neighbours(axes=self.axes.to(device), directions=self.directions.to(device))

    def distances(self, features: torch.Tensor) -> torch.Tensor:
        """Return the distances of chips (N,), 0..2, from their features (N, F)."""
        directions = F.normalize(F.normalize(features.float(), dim=1) @ self.axes, dim=1)
        nearness = directions @ self.directions.T
        rank = min(NEAREST, nearness.shape[1])
        tenth = nearness.topk(rank, dim=1).values[:, -1]
        return (2 - 2 * tenth).clamp_min(0).sqrt()


def keep_neighbours(folder: Path, card: Card, neighbours: Neighbours | None) -> Card:
    """Write neighbours into a bundle's folder and return its card with their hash.

    A card without neighbours has no `strangeness`: what was measured with others does not hold.
    """
    if neighbours is None or card.strangeness is None:
        return card.model_copy(update={"strangeness": None})
    content = neighbours.as_bytes()
    (folder / NEIGHBOURS_FILE).write_bytes(content)
    update = {"neighbours_sha256": hashlib.sha256(content).hexdigest()}
    return card.model_copy(update={"strangeness": card.strangeness.model_copy(update=update)})


def read_neighbours(folder: Path, card: Card) -> Neighbours | None:
    """Return the neighbours in a bundle's folder; None where its card knows of none.

    Raises:
        BundleError: If the file is missing or altered, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if card.strangeness is None:
        return None
    path = folder / NEIGHBOURS_FILE
    if not path.is_file():
        raise BundleError(f"bundle {folder} lacks {path.name}: copy it again, whole")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != card.strangeness.neighbours_sha256:
        raise BundleError(
            f"{path} was altered or damaged: its SHA-256 is {found[:12]}, its card says "
            f"{card.strangeness.neighbours_sha256[:12]}; copy the bundle again"
        )
    try:
        tensors = load(content)
        axes, directions = tensors["axes"].float(), tensors["directions"].float()
    except (SafetensorError, KeyError) as err:
        raise BundleError(f"{path} holds no training tiles to compare with: {err}") from err
    return Neighbours(axes=axes, directions=directions)


def held_out_strangeness(
    distances: Floats, blocks: npt.NDArray[np.int64], *, measured_on: str
) -> Strangeness | None:
    """Return what is usual on held-out ground.

    Args:
        distances: Of tiles that the network was not trained on, (N,).
        blocks: Number of the block of ground that each lies in, (N,).
        measured_on: What these tiles are, in words.

    Returns:
        None where fewer than MIN_BLOCKS blocks hold BLOCK_TILES tiles.
    """
    _, where, counts = np.unique(blocks, return_inverse=True, return_counts=True)
    means = np.bincount(where, weights=distances, minlength=len(counts)) / counts
    scores = means[counts >= BLOCK_TILES]
    if len(scores) < MIN_BLOCKS or not np.median(scores) > 0:
        return None
    typical = float(np.median(scores))
    return Strangeness(
        typical=typical,
        limit=float(np.quantile(scores, SHARE_BELOW)) / typical,
        blocks=len(scores),
        measured_on=measured_on,
    )
