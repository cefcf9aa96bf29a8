"""How fast the running statistics of batch norms follow the batches."""

from torch import nn

from damagenet.errors import ConfigError

FASTEST = 0.1
STEPS_SEEN = 10


def auto_momentum(steps: int) -> float:
    """Return the momentum, as torch takes it, for so many steps per epoch.

    It is the complement of max(1 - 10 / steps, 0.9) (Kornblith et al. 2019, arXiv:1805.08974).
    """
    return min(STEPS_SEEN / steps, FASTEST)


def set_momentum(network: nn.Module, momentum: float) -> None:
    """Set the momentum of all batch norms of a network in place.

    Raises:
        ConfigError: If it has none.
    """
    norms = [
        part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)
    ]
    if not norms:
        raise ConfigError(
            "training.bn_momentum is for batch norms, of which the network has none: leave it out"
        )
    for norm in norms:
        norm.momentum = momentum
