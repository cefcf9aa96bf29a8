"""Losses by name."""

from collections.abc import Callable

from torch import Tensor, tensor
from torch.nn import functional as F

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N,) and labels (N,) of 0 or 1 in, mean loss out."""


def bce(*, label_smoothing: float = 0.0, positive_weight: float = 1.0) -> Loss:
    """Return the binary cross entropy.

    Args:
        label_smoothing: Share of each label that is moved to 0.5 (arXiv:1512.00567), below 1.
        positive_weight: Weight of damaged tiles against undamaged ones, above 0.

    Raises:
        ConfigError: If one of them is out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"label_smoothing must be within 0..1 (below 1), got {label_smoothing}")
    if positive_weight <= 0:
        raise ConfigError(f"positive_weight must be above 0, got {positive_weight}")

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        smooth = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        weight = tensor(positive_weight, device=logits.device)
        return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight)

    return loss


LOSSES: dict[str, Callable[..., Loss]] = {"bce": bce}


def build_loss(choice: Choice) -> Loss:
    """Return the loss; raise ConfigError if its name or a parameter is unknown or out of range."""
    check_choice("loss", choice, LOSSES)
    return LOSSES[choice.name](**choice.parameters)
