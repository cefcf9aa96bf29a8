"""Learning-rate schedules by name; every one steps once per batch."""

import math
from collections.abc import Callable

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, check_choice


def constant(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Keep the learning rate."""
    del steps
    return LambdaLR(optimizer, lambda step: 1.0)


def one_cycle(
    optimizer: Optimizer,
    steps: int,
    *,
    warmup: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> LRScheduler:
    """Rise to the learning rate over the share `warmup`, then fall (arXiv:1708.07120).

    It starts at the rate divided by `div_factor`, and ends at that divided by `final_div_factor`.

    Raises:
        ConfigError: If `warmup` is not within 0..1 (below 1), or a divisor is not finite and
            above 0.
    """
    if not 0 <= warmup < 1:
        raise ConfigError(
            f"schedule parameter warmup must be within 0..1 (below 1, to fall again), got {warmup}"
        )
    _check_positive("div_factor", div_factor)
    _check_positive("final_div_factor", final_div_factor)
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
        # A rise of one step is at its end from the start; torch would divide by zero.
        pct_start=warmup - 1e-9 if warmup * steps == 1 else float(warmup),
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        cycle_momentum=False,
    )


def cosine(
    optimizer: Optimizer, steps: int, *, warmup: float = 0.05, floor: float = 0.0
) -> LRScheduler:
    """Rise linearly over the share `warmup`, then fall to the share `floor` along a cosine."""
    _check_share("warmup", warmup)
    _check_share("floor", floor)
    rising = max(1, round(warmup * steps)) if warmup > 0 else 0

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, steps - rising))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def step(
    optimizer: Optimizer, steps: int, *, every: float = 0.333, gamma: float = 0.1
) -> LRScheduler:
    """Multiply the learning rate by `gamma` each time the share `every` of the steps is done."""
    _check_share("every", every)
    _check_gamma(gamma)
    width = max(1, round(every * steps))
    return LambdaLR(optimizer, lambda done: gamma ** (done // width))


def milestones(
    optimizer: Optimizer, steps: int, *, at: str | float = "0.5, 0.75", gamma: float = 0.1
) -> LRScheduler:
    """Multiply the learning rate by `gamma` at each of the shares of the steps named in `at`."""
    _check_gamma(gamma)
    marks = [_share(word) * steps for word in str(at).split(",")]
    return LambdaLR(optimizer, lambda done: gamma ** sum(done >= round(mark) for mark in marks))


def inverse_time(optimizer: Optimizer, steps: int, *, halved: float = 0.5) -> LRScheduler:
    """Divide by 1 + t / T, T the share `halved` of the steps (arXiv:2212.14718).

    Raises:
        ConfigError: If `halved` is not finite and above 0.
    """
    _check_positive("halved", halved)
    return LambdaLR(optimizer, lambda done: 1 / (1 + done / (halved * steps)))


SCHEDULES: dict[str, Callable[..., LRScheduler]] = {
    "constant": constant,
    "cosine": cosine,
    "milestones": milestones,
    "inverse_time": inverse_time,
    "one_cycle": one_cycle,
    "step": step,
}


def check_schedule(choice: Choice) -> None:
    """Raise ConfigError if the schedule or a parameter is unknown or out of range."""
    check_choice("schedule", choice, SCHEDULES, hidden=("optimizer", "steps"))
    build_schedule(choice, SGD([nn.Parameter()], lr=0.1), steps=100)


def build_schedule(choice: Choice, optimizer: Optimizer, *, steps: int) -> LRScheduler:
    """Return the schedule of an optimiser over `steps` batches.

    Raises:
        ConfigError: If the name or a parameter is unknown or out of range.
    """
    try:
        return SCHEDULES[choice.name](optimizer, steps, **choice.parameters)
    except (ArithmeticError, KeyError, TypeError, ValueError) as err:
        raise ConfigError(f"schedule {choice.name!r}: {err}") from err


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"schedule parameter {name} must be within 0..1, got {value}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"schedule parameter {name} must be above 0 and finite, got {value}")


def _check_gamma(gamma: float) -> None:
    if not 0 <= gamma < math.inf:
        raise ConfigError(f"schedule parameter gamma must be at least 0 and finite, got {gamma}")


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise ConfigError(
            "schedule parameter at must hold shares between 0 and 1 with commas, as in "
            f"'0.3, 0.6, 0.8', got {word.strip()!r}"
        )
    return share
