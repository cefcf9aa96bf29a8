"""The noise of Langevin optimisers: its size, its schedule, and its draws.

P. Bras, "Langevin algorithms for very deep neural networks", arXiv:2212.14718: a step of rate lr
with the diagonal preconditioner P, `w <- w - lr P g`, gets noise of deviation sigma sqrt(lr P).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from damagenet.config import meant
from damagenet.errors import ConfigError, EvaluationError

Group = dict[str, Any]  # Any: as torch types its groups
"""A group of an optimiser: parameters that share a learning rate, and the like."""


def constant(done: float) -> float:
    """Keep sigma."""
    del done
    return 1.0


def step(done: float) -> float:
    """Keep sigma up to the change, then none: the end of the training is free of noise."""
    return 1.0 if done < 1 else 0.0


def decay(done: float) -> float:
    """Lower sigma ever more slowly, by the root of a logarithm."""
    return 1 / math.sqrt(math.log(done + math.e))


SIGMA_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "decay": decay,
    "step": step,
}
"""Take how much of the way to the change is done (1 there); return the factor on sigma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What noise an optimiser adds, and to which layers.

    Attributes:
        sigma: Deviation at lr and P of 1, at the start.
        sigma_schedule: Name in `SIGMA_SCHEDULES`.
        change: Share of the steps after which the schedule changes, as in `step`.
        max_precond: Largest P that noise is scaled by. Where gradients have been zero P is
            1 / eps, and noise a million times as large in variance. The step itself stays.
        noise_seed: Of the draws; without one, what torch was last seeded with.
        first_fraction: Share of the layers that get noise, from the image; without one, all do.
        layers: Their names with commas between, instead.
        steps: Length of the training, which no recipe sets here.
    """

    sigma: float = 1e-3
    sigma_schedule: str = "constant"
    change: float = 0.5
    max_precond: float = math.inf
    noise_seed: int | None = None
    first_fraction: float | None = None
    layers: str | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError if a value is out of range."""
        require("sigma", self.sigma, "0 or above", lambda value: 0 <= value < math.inf)
        require("change", self.change, "above 0 and at most 1", lambda value: 0 < value <= 1)
        require("max_precond", self.max_precond, "above 0", lambda value: value > 0)
        if self.noise_seed is not None:
            seed, wanted = self.noise_seed, "of 0 or above, a whole one"
            require("noise_seed", seed, wanted, lambda value: value >= 0 and isinstance(value, int))
        if self.first_fraction is not None:
            share = self.first_fraction
            require("first_fraction", share, "within 0..1", lambda value: 0 <= value <= 1)
        if self.layers is not None and not str(self.layers).strip():
            raise ConfigError("layers must be names with commas between, got none")
        if self.first_fraction is not None and self.layers is not None:
            raise ConfigError("first_fraction and layers both choose the layers: leave one out")
        if self.sigma_schedule not in SIGMA_SCHEDULES:
            hint = meant(str(self.sigma_schedule), SIGMA_SCHEDULES)
            choices = ", ".join(SIGMA_SCHEDULES)
            raise ConfigError(
                f"unknown sigma_schedule {self.sigma_schedule!r}{hint}; choose one of: {choices}"
            )

    @property
    def everywhere(self) -> bool:
        """Whether all layers get noise."""
        return self.layers is None and self.first_fraction in (None, 1)

    def factor(self, taken: int) -> float:
        """Return the factor on sigma after that many steps.

        Raises:
            ConfigError: If it changes over a training of unknown length.
        """
        if self.sigma_schedule != "constant" and self.steps is None:
            raise ConfigError(f"sigma_schedule {self.sigma_schedule!r} needs the number of steps")
        whole = max(1, round(self.change * (self.steps or 1)))
        return SIGMA_SCHEDULES[self.sigma_schedule](taken / whole)


class Draws:
    """Standard normal numbers that depend on a seed and on the number of the step alone."""

    def __init__(self, seed: int, taken: int) -> None:
        self._seed = (seed * 1_000_003 + taken) % 2**63
        self._generators: dict[torch.device, torch.Generator] = {}

    def like(self, parameter: torch.Tensor) -> torch.Tensor:
        """Return fresh numbers of the shape and memory layout of a parameter."""
        device = parameter.device
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        # Drawn in a row and then laid out: torch draws slowly into permuted memory.
        row = torch.empty(parameter.numel(), dtype=parameter.dtype, device=device)
        row.normal_(generator=self._generators[device])
        return row.as_strided(parameter.shape, torch.empty_like(parameter, device="meta").stride())


class Langevin(Optimizer):
    """Adds noise to the steps of the torch optimiser that stands after it among the bases.

    With sigma 0 the steps are those of that optimiser to the bit. A group may have a `sigma` of
    its own: 0 where its layers get none. Parameters without a gradient, and those that are not
    trained, get none either. Weight decay is part of the step, not of the noise. Processes that
    train together draw the same noise.
    """

    noise: Noise

    def __getstate__(self) -> dict[str, Any]:  # Any: as torch types it
        """Return what a copy needs, the noise too."""
        return super().__getstate__() | {"noise": self.noise}

    def start_noise(self, noise: Noise) -> None:
        """Take the noise, once the groups are made.

        Raises:
            ConfigError: If a learning rate is not above 0.
        """
        self.noise = noise
        seed = torch.initial_seed() if noise.noise_seed is None else noise.noise_seed
        # What the next draws depend on lies in the groups, so it is saved with them.
        self.defaults |= {"sigma": noise.sigma, "noise_seed": seed, "taken": 0}
        for group in self.param_groups:
            require("lr", group["lr"], "above 0", lambda value: value > 0)
            for name in ("sigma", "noise_seed", "taken"):
                group.setdefault(name, self.defaults[name])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's overloads say the same in two lines
        """Take one step with noise; return what the closure does.

        Raises:
            ConfigError: If a gradient is sparse.
            EvaluationError: If the gradients have no finite length.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        first = self.param_groups[0]
        self._check_gradients(first["taken"])
        self.move(Draws(first["noise_seed"], first["taken"]))
        for group in self.param_groups:
            group["taken"] += 1
        return loss

    def move(self, draws: Draws) -> None:
        """Move the parameters by a step, then by noise."""
        self.base_step()
        for group in self.param_groups:
            parameters = moving(group)
            scale = self.scale(group)
            if not parameters or scale == 0:
                continue
            inverse = self.inverse_preconditioners(group, parameters)
            torch._foreach_add_(parameters, self.drawn(parameters, inverse, scale, draws))

    def base_step(self) -> None:
        """Take the step without noise."""
        super().step()

    def inverse_preconditioners(
        self, group: Group, parameters: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return 1 / P for each parameter, as fresh tensors, after the step; none where P is 1."""
        del group, parameters
        return []

    def scale(self, group: Group) -> float:
        """Return sigma sqrt(lr) of a group for this step."""
        sigma: float = group["sigma"] * self.noise.factor(group["taken"])
        return sigma * math.sqrt(group["lr"])

    def drawn(
        self,
        parameters: Sequence[torch.Tensor],
        inverse: list[torch.Tensor],
        scale: float,
        draws: Draws,
    ) -> list[torch.Tensor]:
        """Return noise of deviation `scale * sqrt(P)` for each parameter; changes `inverse`."""
        noise = [draws.like(parameter) for parameter in parameters]
        torch._foreach_mul_(noise, scale)
        if inverse:
            if self.noise.max_precond < math.inf:
                torch._foreach_clamp_min_(inverse, 1 / self.noise.max_precond)
            torch._foreach_rsqrt_(inverse)
            torch._foreach_mul_(noise, inverse)
        return noise

    def _check_gradients(self, taken: int) -> None:
        gradients = gradients_of([p for group in self.param_groups for p in moving(group)])
        if any(gradient.is_sparse for gradient in gradients):
            raise ConfigError("optimizers with noise take dense gradients only: use another one")
        if gradients and not torch.isfinite(get_total_norm(gradients)):
            raise EvaluationError(
                f"the training diverged: gradients of step {taken + 1} are not finite; lower the "
                "learning rate or sigma"
            )


def moving(group: Group) -> list[torch.Tensor]:
    """Return the parameters of a group that are trained and have a gradient."""
    return [p for p in group["params"] if p.grad is not None and p.requires_grad]


def gradients_of(parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the gradients of parameters that all have one."""
    return [p.grad for p in parameters if p.grad is not None]


def require(name: str, value: object, wanted: str, fits: Callable[[float], bool]) -> None:
    """Raise ConfigError if a value is no number, or does not fit."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
        raise ConfigError(f"{name} must be a number {wanted}, got {value!r}")
