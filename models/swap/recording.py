"""Which activations a network calls, seen in a forward pass that computes nothing."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from damagenet.errors import ConfigError
from models.swap.known import Known, known_function, known_module

Kind = Literal["module", "functional", "method"]
BATCH = 2
"""Images of the recorded pass: batch norm does not train on a single value per channel."""


@dataclass(frozen=True, slots=True)
class Place:
    """What tells the calls inside one module's forward apart."""

    owner: nn.Module
    """The innermost module, itself no activation, in whose forward the call stands."""
    kind: Kind
    target: nn.Module | str
    """The module that is called, or the function's name."""
    occurrence: int
    """How many calls of the same target came before, in the same run of the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an activation."""

    place: Place
    known: Known
    shape: tuple[int, ...]
    """Of what enters, with the batch."""
    dim: int
    """Axis of the channels: 1, or -1 behind a linear layer."""
    poolings: int
    """How many poolings came before."""

    @property
    def channels(self) -> int:
        """Return how many channels enter."""
        return self.shape[self.dim]

    @property
    def positions(self) -> int:
        """Return how many places of one image (pixels, tokens) the activation sees.

        0 where it sees no image, as in a position bias that is computed from coordinates.
        """
        if self.shape[0] % BATCH:
            return 0
        return int(torch.Size(self.shape).numel()) // self.channels // BATCH


@dataclass(frozen=True, slots=True)
class Recording:
    """What a forward pass has shown."""

    calls: list[Call]
    """The wanted activations, in order."""
    poolings: int
    """How many poolings there were."""
    given: dict[nn.Module, set[str]]
    """The arguments that every module that ran was given, by their names in its forward."""

    def in_head(self, call: Call) -> bool:
        """Whether a call stands behind the last pooling and sees one position per image."""
        return call.poolings == self.poolings and call.positions == 1


def record(
    network: nn.Module,
    example: torch.Tensor | Sequence[torch.Tensor],
    *,
    training: bool,
    wanted: Callable[[Known], bool],
) -> Recording:
    """Return what one forward pass calls.

    The pass runs on torch's `meta` device: nothing is computed or kept, and weights, statistics
    and modes stay as they were.

    Args:
        network: Any network.
        example: What it takes, (N, ...); only shapes and types matter. Several where it takes
            several.
        training: Whether to look at it as it runs in training.
        wanted: Which activations to record.

    Raises:
        ConfigError: If the network cannot run on the example.
    """
    given = (example,) if isinstance(example, torch.Tensor) else tuple(example)
    inputs = tuple(each.new_empty((BATCH, *each.shape[1:]), device="meta") for each in given)
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    states = {name: torch.empty_like(each, device="meta") for name, each in tensors.items()}
    recorder = _Recorder(wanted)
    with torch.no_grad(), _mode(network, training), recorder.listening(network), recorder:
        try:
            torch.func.functional_call(network, states, inputs)
        except Exception as err:
            sizes = ", ".join(str(tuple(each.shape)) for each in given)
            reason = (str(err).strip() or type(err).__name__).splitlines()[0]
            raise ConfigError(
                f"{type(network).__name__} does not run on an example of {sizes}, so that its "
                f"activations cannot be found: {reason}"
            ) from err
    return Recording(recorder.calls, recorder.poolings, recorder.given)


@contextmanager
def _mode(network: nn.Module, training: bool) -> Iterator[None]:
    before = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        for module, was in before.items():
            module.training = was


class _Recorder(TorchFunctionMode):
    """Notes activations while it is active: modules by hooks, functions by torch's override."""

    def __init__(self, wanted: Callable[[Known], bool]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.poolings = 0
        self.given: dict[nn.Module, set[str]] = {}
        self._wanted = wanted
        self._running: list[tuple[nn.Module, Counter[object]]] = []
        self._inside = 0
        self._dim = 1

    @contextmanager
    def listening(self, network: nn.Module) -> Iterator[None]:
        hooks = []
        for module in network.modules():
            hooks.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(
        self, module: nn.Module, arguments: tuple[object, ...], options: Mapping[str, object]
    ) -> None:
        known = known_module(module)
        if known is not None:
            self._note("module", module, known, (*arguments, *options.values()))
            self._inside += 1
        names = list(inspect.signature(module.forward).parameters)[: len(arguments)]
        self.given.setdefault(module, set()).update(names, options)
        self._dim = channel_axis(module) or self._dim
        self._running.append((module, Counter()))

    def _leave(self, module: nn.Module, arguments: object, result: object) -> None:
        del arguments, result
        self._running.pop()
        self._inside -= known_module(module) is not None

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Note an activation, then do what was asked."""
        options = kwargs or {}
        name = getattr(func, "__name__", "")
        self.poolings += "pool" in name or name == "mean"
        known = known_function(name, args, options)
        if known is not None:
            method = func is getattr(torch.Tensor, name, None)
            self._note(
                "method" if method else "functional",
                known.function,
                known,
                (*args, *options.values()),
            )
        if name == "batch_norm" and args and isinstance(args[0], torch.Tensor):
            # As large as what enters, which torch would find out by a trace of all its steps.
            return torch.empty_like(args[0])
        return func(*args, **options)

    def _note(
        self, kind: Kind, target: nn.Module | str, known: Known, given: Sequence[object]
    ) -> None:
        features = next((each for each in given if isinstance(each, torch.Tensor)), None)
        outside = self._inside == 0 and bool(self._running)
        if features is None or not outside or not self._wanted(known):
            return
        owner, seen = self._running[-1]
        place = Place(owner, kind, target, seen[kind, target])
        seen[kind, target] += 1
        dim = 1 if features.ndim == 2 else self._dim
        shape = tuple(features.shape)
        self.calls.append(
            Call(place=place, known=known, shape=shape, dim=dim, poolings=self.poolings)
        )


def channel_axis(layer: nn.Module) -> int | None:
    """Return the axis of the channels that a layer works on; None where it has no say."""
    name = type(layer).__name__.lower()
    if isinstance(layer, nn.GroupNorm) or re.search(r"(conv|norm)\w*[123]d", name):
        return 1
    if isinstance(layer, nn.Linear | nn.LayerNorm):
        return -1
    return None
