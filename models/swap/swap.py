"""Replacing the activations inside a trained network."""

from collections.abc import Collection, Sequence

from torch import nn

from damagenet.errors import ConfigError
from models.activations import Activation, ActivationMaker
from models.swap.clipped import Clipped
from models.swap.plan import Example, Plan, plan_swap
from models.swap.recording import Call
from models.swap.sites import Site, Where


def swap_activations(
    network: nn.Module,
    make: ActivationMaker,
    *,
    example: Example,
    where: Where = "all",
    keep_clip: bool = True,
    kinds: Collection[str] | None = None,
) -> nn.Module:
    """Put fresh activations into a network in place, and return it.

    Modules, functions (`F.relu`) and methods (`x.relu()`) alike: every call in the network's
    forward gets an activation of its own, also where one module is called several times; blocks
    that are called more than once share theirs as they share their weights. The weights, their
    keys, the classes of the modules and their behaviour in training stay; only what a replaced
    activation has learned itself (PReLU) goes with it. With `pvlu` and alpha = 0 in place of ReLU
    the outputs stay equal bit for bit (arXiv:2110.12246).

    Gates are left alone: sigmoid, hardsigmoid and tanh weigh channels in squeeze-and-excitation
    or squash an output, softmax is no activation of single numbers. `kinds` names them where they
    are meant. A function written out in arithmetic, as `x * torch.sigmoid(x)`, is not seen.

    Nothing is overwritten any more where the network did so to save memory (`inplace=True`); a
    network that goes on to read what its activation has overwritten computes something else.
    Methods beside `forward` keep calling the functions they called.

    Args:
        network: Any network of torchvision, timm or this package.
        make: Makes the activations.
        example: Images (N, C, H, W) of the size that the network is used at; their values do not
            matter. Several where the network takes several.
        where: All sites, those of the last stage, or those of the head behind the pooling; see
            `select`.
        keep_clip: Whether sites that clip from above (ReLU6) go on to do so.
        kinds: Functions to replace, as `relu` or `gelu`; None for all but gates.

    Raises:
        ConfigError: If the activation changes the number of channels, the network has no
            activation there, or a module that must be rewritten cannot be followed by torch.fx.
            The network is then as it was.
    """
    if not make.keeps_width:
        raise ConfigError(
            f"activation {make.setting.name!r} changes the number of channels, so the weights of "
            f"{type(network).__name__} would not fit: choose one that keeps it"
        )
    plan = plan_swap(network, example, where, kinds)
    if make.needs_shapes:
        make.shapes = tuple(call.shape[1:] for call, _ in plan.steps)
    fresh = [_made(make, call, keep_clip) for call, _ in plan.steps]
    _put(network, plan, fresh)
    return network


def activation_sites(
    network: nn.Module,
    example: Example,
    *,
    where: Where = "all",
    kinds: Collection[str] | None = None,
) -> list[Site]:
    """Return the sites that `swap_activations` would fill, in the order in which they run.

    Sites that run in training only, as those of auxiliary heads, come last.

    Raises:
        ConfigError: As `swap_activations` does.
    """
    return [
        Site(
            path=slot.path,
            kind=call.place.kind,
            function=call.known.function,
            channels=call.channels,
            dim=call.dim,
            shape=call.shape[1:],
            ceiling=call.known.ceiling,
        )
        for call, slot in plan_swap(network, example, where, kinds).steps
    ]


def _made(make: ActivationMaker, call: Call, keep_clip: bool) -> Activation | Clipped:
    activation = make(call.channels, dim=call.dim)
    ceiling = call.known.ceiling
    return Clipped(activation, ceiling) if keep_clip and ceiling is not None else activation


def _put(network: nn.Module, plan: Plan, fresh: Sequence[nn.Module]) -> None:
    like = next((each for each in network.parameters() if each.is_floating_point()), None)
    for (_, slot), activation in zip(plan.steps, fresh, strict=True):
        if like is not None:
            activation.to(device=like.device, dtype=like.dtype)
        setattr(slot.holder, slot.name, activation.train(slot.holder.training))
    for owner, changed in plan.classes.items():
        owner.__class__ = changed
