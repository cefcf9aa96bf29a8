"""Stochastic depth: residual branches that rest by chance in training (arXiv:1603.09382).

The chance is drawn from torch's own random numbers, which training seeds step by step.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.residual import Branch, Sum

Mode = Literal["linear", "uniform"]
Draw = Literal["batch", "row"]
Scaling = Literal["test", "train"]
WORDS = {"mode": get_args(Mode), "draw": get_args(Draw), "scaling": get_args(Scaling)}


class ChanceSum(Sum):
    """Adds a residual branch to its shortcut with a chance; without a draw in evaluation."""

    def __init__(self, survival: float, *, draw: Draw, scaling: Scaling) -> None:
        """Settle the chance.

        Args:
            survival: Probability that the branch counts, above 0 and at most 1.
            draw: Once for a batch, whose closed branch is not computed at all, or for every row.
            scaling: Whether the branch is multiplied by its probability in evaluation, as in the
                paper, or divided by it in training.
        """
        super().__init__()
        self.survival = survival
        self.draw = draw
        self.scaling = scaling

    @property
    def evaluated(self) -> float:
        """What the branch is multiplied by in evaluation."""
        return self.survival if self.scaling == "test" else 1.0

    def forward(
        self, branch: Branch, features: torch.Tensor, carried: torch.Tensor
    ) -> torch.Tensor:
        """Return the sum as `Sum` does, or what was carried alone where the branch rests."""
        if not self.training:
            return _scaled(branch(features), self.evaluated) + carried
        if self.survival == 1:
            return branch(features) + carried
        gain = 1 / self.survival if self.scaling == "train" else 1.0
        if self.draw == "row":
            shape = (len(carried), *(1 for _ in carried.shape[1:]))
            counts = torch.rand(shape, device=carried.device) < self.survival
            return branch(features) * (counts * gain).to(carried.dtype) + carried
        # Drawn on the CPU, so that no device has to be waited for.
        if torch.rand((), device="cpu").item() >= self.survival:
            return carried
        return _scaled(branch(features), gain) + carried

    def extra_repr(self) -> str:
        """Say the setting where the network is printed."""
        return f"survival={self.survival:g}, draw={self.draw}, scaling={self.scaling}"


def stochastic_depth(
    network: nn.Module,
    *,
    p_last: float = 0.5,
    mode: Mode = "linear",
    draw: Draw = "batch",
    scaling: Scaling = "test",
) -> None:
    """Let the residual branches of a network rest by chance, in place; it has the same weights.

    Args:
        network: Made of blocks that hold a `Sum` as `join`.
        p_last: Probability of survival of the last branch, above 0 and at most 1.
        mode: `linear` from 1 in front of the first branch down to `p_last`, or `uniform`.
        draw: Once for a `batch`, as in the paper, or for every `row` of it.
        scaling: Where branches are scaled by their probability; see `ChanceSum`.

    Raises:
        ConfigError: If a value is out of range, or the network has no such blocks.
    """
    check_stochastic_depth(p_last=p_last, mode=mode, draw=draw, scaling=scaling)
    blocks = [block for block, _ in _blocks(network)]
    if not blocks:
        raise ConfigError(
            f"stochastic depth found no residual blocks in {type(network).__name__}: choose an "
            "architecture that has them, or another regulariser"
        )
    chances = survivals(len(blocks), p_last=p_last, mode=mode)
    for block, survival in zip(blocks, chances, strict=True):
        join = ChanceSum(survival, draw=draw, scaling=scaling)
        block.join = join.train(block.training)


def check_stochastic_depth(
    *,
    p_last: object = 0.5,
    mode: object = "linear",
    draw: object = "batch",
    scaling: object = "test",
) -> None:
    """Raise ConfigError if a parameter of stochastic depth is out of range or an unknown word."""
    if isinstance(p_last, bool) or not isinstance(p_last, int | float) or not 0 < p_last <= 1:
        raise ConfigError(
            f"stochastic_depth: p_last must be a number above 0 and at most 1, got {p_last!r}"
        )
    for name, value in (("mode", mode), ("draw", draw), ("scaling", scaling)):
        if value not in WORDS[name]:
            choices = " or ".join(WORDS[name])
            raise ConfigError(f"stochastic_depth: {name} must be {choices}, got {value!r}")


def survivals(blocks: int, *, p_last: float, mode: Mode) -> list[float]:
    """Return the probability that each branch counts, in order: p_l = 1 - l / L (1 - p_L)."""
    if mode == "uniform":
        return [p_last] * blocks
    return [1 - number / blocks * (1 - p_last) for number in range(1, blocks + 1)]


def skips_layers(network: nn.Module) -> bool:
    """Whether layers of a network may have no gradient after a step."""
    return any(
        isinstance(part, ChanceSum) and part.draw == "batch" and part.survival < 1
        for part in network.modules()
    )


def take_in_scaling(network: nn.Module) -> None:
    """Multiply each branch's last layer, in place, by what evaluation multiplies the branch by.

    The weights then fit the same network without stochastic depth: it computes what this one does
    in evaluation.
    """
    for block, join in _blocks(network):
        if isinstance(join, ChanceSum):
            _multiply_last_layer(block, join.evaluated)


def take_out_scaling(network: nn.Module) -> None:
    """Undo `take_in_scaling` in place, for weights of a network without stochastic depth.

    This one then computes in evaluation what that did; in training the mean over the draws does.
    """
    for block, join in _blocks(network):
        if isinstance(join, ChanceSum):
            _multiply_last_layer(block, 1 / join.evaluated)


def _blocks(network: nn.Module) -> Iterator[tuple[nn.Module, Sum]]:
    """Yield the residual blocks of a network in order, with their sums."""
    for block in network.modules():
        join = getattr(block, "join", None)
        if isinstance(join, Sum):
            yield block, join


def _multiply_last_layer(block: nn.Module, factor: float) -> None:
    branch = block.residual
    assert isinstance(branch, nn.Sequential)
    with torch.no_grad():
        for parameter in branch[-1].parameters():
            parameter.mul_(factor)


def _scaled(branch: torch.Tensor, factor: float) -> torch.Tensor:
    return branch if factor == 1 else branch * factor
