"""`Explainer`: chips in, maps out, by the methods that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from damagenet.bundle import Bundle
from damagenet.devices import resolve_device
from damagenet.errors import ConfigError
from damagenet.explain.log_odds import log_odds_of
from damagenet.explain.methods import METHODS, Asked, Prepared
from damagenet.explain.names import MethodName, Target
from damagenet.inference import Images
from models.architectures import find_architecture
from models.compatibility import refusal

Maps = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one method says of N chips.

    Attributes:
        maps: One for each picture of a chip, float32 (N, S, S).
        delta: What is missing to the sum that the method promises, float64 (N,); None where it
            promises none.
        change: The sum that it promises, float64 (N,); None likewise.
    """

    maps: tuple[Maps, ...]
    delta: NDArray[np.float64] | None = None
    change: NDArray[np.float64] | None = None

    def only(self, chip: int) -> "Explanation":
        """Return what is said of one of the chips; N is 1."""
        one = slice(chip, chip + 1)
        return Explanation(
            # Copies, as the rest of the batch need not be kept.
            maps=tuple(values[one].copy() for values in self.maps),
            delta=None if self.delta is None else self.delta[one],
            change=None if self.change is None else self.change[one],
        )


class Explainer:
    """Explains the verdicts of one bundle on one device.

    Args:
        bundle: From `load_bundle`; its network stays as it is.
        methods: Names of `METHODS`.
        target: The class that maps speak for.
        asked: What is asked of the methods.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: If a method is not made for the network; nothing was computed yet.
        DeviceError: If the device is not there.
    """

    def __init__(
        self,
        bundle: Bundle,
        methods: Sequence[MethodName],
        *,
        target: Target = "damaged",
        asked: Asked | None = None,
        device: str = "auto",
    ) -> None:
        self.bundle = bundle
        self.target = target
        self._device = resolve_device(device)
        self._log_odds = log_odds_of(bundle, target, self._device)
        _refuse_unfit(bundle, methods)
        side = bundle.card.chip.size_px
        example = tuple(
            torch.full((1, 3, side, side), 128.0, device=self._device) for _ in bundle.card.inputs
        )
        self._prepared: dict[MethodName, Prepared] = {
            name: METHODS[name].prepare(self._log_odds, example, asked or Asked())
            for name in dict.fromkeys(methods)
        }

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """The methods that it explains by, in the order of asking."""
        return tuple(self._prepared)

    def note(self, method: MethodName) -> str:
        """Return what a method does with this network, for a reader."""
        return self._prepared[method].note

    def explain(self, method: MethodName, images: tuple[Images, ...]) -> Explanation:
        """Return the maps of N chips.

        Args:
            method: One of `methods`.
            images: One array uint8 (N, 3, S, S) for each of the card's `inputs`, in order; N is at
                least 1.
        """
        pixels = tuple(torch.from_numpy(image).to(self._device).float() for image in images)
        found = self._prepared[method].explain(pixels)
        maps = tuple(one.detach().cpu().numpy().astype(np.float32) for one in found.maps)
        if found.delta is None:
            return Explanation(maps=maps)
        delta = found.delta.detach().cpu().numpy().astype(np.float64)
        change = sum(one.sum(axis=(1, 2), dtype=np.float64) for one in maps) - delta
        return Explanation(maps=maps, delta=delta, change=np.asarray(change))


def _refuse_unfit(bundle: Bundle, methods: Sequence[MethodName]) -> None:
    name = bundle.card.model.architecture.name
    reason = refusal("guided_backprop", find_architecture(bundle.card.model.architecture).family)
    if reason and "guided_backprop" in methods:
        raise ConfigError(
            f"guided_backprop does not go with {name!r} of model {bundle.card.name}: {reason}; "
            "take grad_cam or integrated_gradients"
        )
