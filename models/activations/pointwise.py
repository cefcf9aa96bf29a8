"""The layer of a function of single numbers."""

from collections.abc import Mapping

import torch
from torch import nn

from damagenet.errors import ConfigError
from models.activations.coefficients import Coefficients
from models.activations.function import Value
from models.activations.fused import evaluate
from models.activations.noise import fresh_seed


class Pointwise(nn.Module):
    """Applies a formula to every number of a tensor, with the parameters of its site."""

    def __init__(
        self,
        value: Value,
        *,
        in_training: Value | None = None,
        fixed: Mapping[str, float | int | str],
        coefficients: Coefficients | None,
        dim: int = 1,
    ) -> None:
        """Join formula and parameters.

        Args:
            value: The formula.
            in_training: Its form in training, where that is another; takes a `seed` too.
            fixed: What is not trained.
            coefficients: What is trained; None where nothing is.
            dim: Axis of the channels.
        """
        super().__init__()
        self.value = value
        self.in_training = in_training
        self.fixed = tuple(fixed.items())
        self.coefficients = coefficients
        self.dim = dim

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return values of the same shape, type and memory layout.

        Raises:
            ConfigError: If there is one parameter per pixel and the image has another size.
        """
        learned = {} if self.coefficients is None else self._learned(self.coefficients, features)
        if self.training and self.in_training is not None:
            seeded = {**learned, "seed": fresh_seed(features)}
            return evaluate(self.in_training, self.fixed, features, seeded)
        return evaluate(self.value, self.fixed, features, learned)

    def _learned(
        self, coefficients: Coefficients, features: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        shape = coefficients.shape
        if len(shape) > 1 and tuple(features.shape[1:]) != shape:
            raise ConfigError(
                f"an activation with one parameter per pixel was made for {shape}, got "
                f"{tuple(features.shape[1:])}: use images of the size it was trained on, or "
                "per: channel"
            )
        learned: dict[str, torch.Tensor] = coefficients(features, dim=self.dim)
        return learned
