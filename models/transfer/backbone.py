"""What must be known of a backbone: how it is built, and which ImageNet weights exist for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from damagenet.errors import ConfigError

Triple = tuple[float, float, float]

DEFAULT_NAME = "imagenet"
"""Name of the weights of a backbone that has only one set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelStatistics:
    """How the pixels were prepared that weights were trained on.

    Attributes:
        mean: Of red, green and blue, in 0..255.
        std: Deviation of each, above zero.
    """

    mean: Triple
    std: Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """One architecture that others have trained on ImageNet.

    Attributes:
        name: As it stands in `model.architecture`.
        build: Takes the side in pixels that it works at and the name of weights, or None for
            torch's own start; returns the network without its ImageNet head, (N, 3, H, W) ->
            (N, features), and the number of features.
        weights: Pixel statistics by name of the weights; the first are the usual ones.
        top1: Share of ImageNet's validation images that weights tell right, by their name, where
            their publisher says so.
        smallest_px: Images with a shorter side are refused.
        fixed_px: Side that images are resized to inside, unless another is asked for; None where
            the network takes any size.
        residual: Whether it is made of blocks that `residual_blocks` knows.
    """

    name: str
    build: Callable[[int, str | None], tuple[nn.Module, int]]
    weights: Mapping[str, PixelStatistics]
    top1: Mapping[str, float] = field(default_factory=dict)
    smallest_px: int
    fixed_px: int | None = None
    residual: bool = False

    def weights_name(self, asked: str | None) -> str:
        """Return the name of the weights asked for, or of the usual ones.

        Raises:
            ConfigError: If there are none of that name.
        """
        if not self.weights:
            raise ConfigError(
                f"there are no ImageNet weights for {self.name!r}: train from scratch"
            )
        if asked is None:
            return next(iter(self.weights))
        if asked not in self.weights:
            raise ConfigError(
                f"there are no weights {asked!r} for {self.name!r}; "
                f"choose one of: {', '.join(self.weights)}"
            )
        return asked
