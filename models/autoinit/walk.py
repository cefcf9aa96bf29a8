"""Following mean and variance through a network, in a pass that computes nothing."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from damagenet.errors import ConfigError
from models.autoinit.operation import Operation
from models.autoinit.options import AutoInit
from models.autoinit.plan import Draw, Plan
from models.autoinit.signal import STANDARD, Signal
from models.autoinit.table import CONSTANTS, RULES
from models.autoinit.whole import after_whole, is_whole

CONSTANT = 1e-12
"""A variance below this share of the mean square is what rounding leaves of a constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a walk has found."""

    draws: list[Draw]
    """The weights to draw, in the order in which the network uses them."""
    signals: dict[str, Signal]
    """What leaves each module, by dotted path; of one that runs more than once, the last."""
    unknown: list[str]
    """Functions without a rule, which were taken to change nothing."""


def walk(network: nn.Module, examples: Sequence[torch.Tensor], options: AutoInit) -> Walk:
    """Follow mean and variance through a network from what leaves its normalising first layer.

    It is followed as it runs in evaluation, where no branch is dropped; dropout and activations
    that draw random numbers count as in training. Nothing in the network changes.

    Args:
        network: Any network; it may lie on torch's `meta` device.
        examples: What it takes, (N, ...); only shapes and types matter.
        options: Target, start, and what to do about unknown functions.

    Raises:
        ConfigError: If it cannot be followed, if no variance is left somewhere or it is not
            finite, or, where `options.strict` says so, if a function has no rule.
    """
    inputs = [each.new_empty((2, *each.shape[1:]), device="meta") for each in examples]
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    states = {name: torch.empty_like(each, device="meta") for name, each in tensors.items()}
    known = {id(states[name]): each for name, each in tensors.items()}
    walker = _Walker(network, known, options)
    for each in inputs:
        walker.note(each, Signal(options.input_mean, options.input_var), live=True)
    with torch.no_grad(), _at_rest(network), walker.listening(network), walker:
        try:
            torch.func.functional_call(network, states, tuple(inputs))
        except ConfigError:
            raise
        except Exception as err:
            reason = (str(err).strip() or type(err).__name__).splitlines()[0]
            raise ConfigError(
                f"init 'autoinit' cannot follow {type(network).__name__}, which may decide by the "
                f"values of its features: {reason}; choose another init"
            ) from err
    return Walk(
        draws=list(walker.plan.draws.values()),
        signals=walker.signals,
        unknown=list(walker.unknown),
    )


@contextmanager
def _at_rest(network: nn.Module) -> Iterator[None]:
    """Let a network be in evaluation, and torch's random numbers where they are."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, was in before.items():
            module.training = was


class _Walker(TorchFunctionMode):
    """Notes what each tensor has: of whole modules by hooks, of functions by torch's override."""

    def __init__(
        self, network: nn.Module, known: Mapping[int, torch.Tensor], options: AutoInit
    ) -> None:
        super().__init__()
        self.plan = Plan(options=options, parameter_of=self._parameter_of)
        self.signals: dict[str, Signal] = {}
        self.unknown: dict[str, None] = {}
        self._known = known
        self._paths = {module: path for path, module in network.named_modules()}
        # With the tensors, whose ids would else be given away again.
        self._noted: dict[int, _Noted] = {}
        self._running: list[str] = []
        self._inside_whole = 0

    @contextmanager
    def listening(self, network: nn.Module) -> Iterator[None]:
        hooks = []
        for module in network.modules():
            hooks.append(module.register_forward_pre_hook(self._enter))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def note(self, tensor: torch.Tensor, signal: Signal, *, live: bool) -> None:
        """Keep what a tensor has; `live` if it depends on what enters the network.

        Raises:
            ConfigError: If it lives and does not vary any more, or its numbers are not finite.
        """
        finite = math.isfinite(signal.mean) and math.isfinite(signal.variance)
        if live and not (finite and signal.variance > CONSTANT * signal.second):
            where = f" in {self._running[-1]!r}" if self._running else ""
            raise ConfigError(
                f"variance {signal.variance:.3g} at mean {signal.mean:.3g}{where}, which weights "
                "cannot be started by: choose another activation or another init"
            )
        self._noted[id(tensor)] = _Noted(tensor, signal, live)

    def _enter(self, module: nn.Module, arguments: object) -> None:
        del arguments
        self._running.append(self._paths[module])
        self._inside_whole += is_whole(module)

    def _leave(self, module: nn.Module, arguments: tuple[object, ...], result: object) -> None:
        features = next((each for each in arguments if isinstance(each, torch.Tensor)), None)
        if isinstance(result, torch.Tensor):
            # What is computed here is none of the network's business, so the count goes down last.
            if is_whole(module) and self._inside_whole == 1 and features is not None:
                draws = self.plan.options.monte_carlo
                leaving = after_whole(module, features, self._signal_of(features), draws=draws)
                self.note(result, leaving, live=self._lives((features,)))
            if id(result) in self._noted:
                self.signals[self._paths[module]] = self._signal_of(result)
        self._inside_whole -= is_whole(module)
        self._running.pop()

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Do what was asked, then note what came out of it."""
        options = kwargs or {}
        result = func(*args, **options)
        found = list(_flat((result,)))
        if found and not self._inside_whole:
            name = getattr(func, "__name__", "")
            name = name if name.startswith("__") else name.strip("_")
            live = name not in CONSTANTS and self._lives((*args, *options.values()))
            signal = self._after(name, func, args, options, found[0], live=live)
            if signal is not None:
                for each in found:
                    self.note(each, signal, live=live)
        return result

    def _after(
        self,
        name: str,
        func: Callable[..., object],
        args: tuple[object, ...],
        options: Mapping[str, object],
        result: torch.Tensor,
        *,
        live: bool,
    ) -> Signal | None:
        """Return what comes out of a function; None where that is nothing but a constant."""
        operation = Operation(
            name=name,
            function=func,
            arguments=args,
            options=options,
            result=result,
            signal_of=self._signal_of,
            plan=self.plan,
        )
        if name in RULES:
            return RULES[name](operation)
        if live:
            self.unknown[name] = None
            if self.plan.options.strict:
                raise ConfigError(
                    f"there is no rule for {name}, and strict is true: leave strict out"
                )
            return operation.signal
        return None

    def _parameter_of(self, tensor: object) -> nn.Parameter | None:
        found = self._known.get(id(tensor))
        return found if isinstance(found, nn.Parameter) else None

    def _signal_of(self, tensor: torch.Tensor) -> Signal:
        if id(tensor) in self._noted:
            return self._noted[id(tensor)].signal
        values = self._known.get(id(tensor), tensor).detach()
        if values.is_meta or not values.numel():
            return STANDARD
        values = values.double()
        return Signal(values.mean().item(), values.var(correction=0).item())

    def _lives(self, values: Iterable[object]) -> bool:
        noted = (self._noted.get(id(each)) for each in _flat(values))
        return any(each is not None and each.live for each in noted)


@dataclass(frozen=True, slots=True)
class _Noted:
    """A tensor of the walk and what it has."""

    tensor: torch.Tensor
    signal: Signal
    live: bool


def _flat(values: Iterable[object]) -> Iterator[torch.Tensor]:
    """Yield the tensors among values and in their lists."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _flat(value)
