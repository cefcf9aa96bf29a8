"""torchvision's classification networks, with its own table of weights."""

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision import models as nets
from torchvision.models.vision_transformer import interpolate_embeddings

from damagenet.errors import BundleError, ConfigError
from models.transfer.backbone import Backbone, PixelStatistics
from models.transfer.checkpoint import State, fetch, read_state
from models.transfer.head import without_head
from models.transfer.residual_blocks import is_resnet

SMALLEST_PX = 32
SIZE_ARGUMENTS: dict[str, Callable[[int], dict[str, object]]] = {
    "maxvit": lambda side: {"input_size": (side, side)},
    "vit": lambda side: {"image_size": side},
}
"""Families that work at one size only, and how it is told to them."""
ARGUMENTS: dict[str, dict[str, object]] = {
    # Without its extra heads, which only steady the training from scratch on ImageNet.
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}
EXTRA_HEADS = ("aux1.", "aux2.", "AuxLogits.")
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""Names in the files of densenets, from before a module's name could hold no dot."""
HALVES = PixelStatistics(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
"""Pixels from -1 to 1, as the two networks of `ARGUMENTS` make of ImageNet's statistics inside."""


def torchvision_names() -> list[str]:
    """Return the names of all classification networks of the installed torchvision."""
    names: list[str] = nets.list_models(module=nets)
    return names


def torchvision_backbone(name: str) -> Backbone:
    """Return one of torchvision's networks.

    Args:
        name: One of `torchvision_names`.
    """
    table = nets.get_model_weights(name)
    # torchvision's own choice first; weights without classes were trained for another task.
    ordered = [table.DEFAULT, *(entry for entry in table if entry is not table.DEFAULT)]
    trained = {entry.name: entry for entry in ordered if entry.meta["categories"]}
    fixed = _family(name) in SIZE_ARGUMENTS
    # For attention this is the size of training, not a limit.
    smallest = (
        SMALLEST_PX if fixed or _family(name) == "swin" else max(table.DEFAULT.meta["min_size"])
    )
    return Backbone(
        name=name,
        build=partial(_build, name),
        weights={key: _pixels(name, entry) for key, entry in trained.items()},
        top1={key: _top1(entry) for key, entry in trained.items()},
        smallest_px=max(SMALLEST_PX, smallest),
        fixed_px=table.DEFAULT.transforms().crop_size[0] if fixed else None,
        residual=is_resnet(name),
    )


def _family(name: str) -> str:
    return name.split("_", maxsplit=1)[0]


def _pixels(name: str, entry: nets.WeightsEnum) -> PixelStatistics:
    if name in ARGUMENTS:
        return HALVES
    prepared = entry.transforms()
    (r, g, b), (dr, dg, db) = prepared.mean, prepared.std
    return PixelStatistics(mean=(255 * r, 255 * g, 255 * b), std=(255 * dr, 255 * dg, 255 * db))


def _top1(entry: nets.WeightsEnum) -> float:
    percent: float = entry.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return percent / 100


def _build(name: str, size_px: int, weights: str | None) -> tuple[nn.Module, int]:
    sized = SIZE_ARGUMENTS.get(_family(name))
    arguments = ARGUMENTS.get(name, {}) | (sized(size_px) if sized else {})
    try:
        network: nn.Module = nets.get_model(name, weights=None, **arguments)
    except (AssertionError, ValueError) as err:
        raise ConfigError(f"{name!r} cannot work at {size_px} px: {err}") from err
    if weights is not None:
        what = f"the ImageNet weights {weights} of {name}"
        path = fetch(nets.get_model_weights(name)[weights].url, what=what)
        load_published(network, read_state(path, what=what), what=what, size_px=size_px)
    return network, without_head(network)


def load_published(network: nn.Module, state: State, *, what: str, size_px: int) -> None:
    """Load the tensors of one of torchvision's files into the network they were made for.

    Args:
        network: With its ImageNet head.
        state: As read; changed in place, since it carries the version of its layers.
        what: What it is, for the message.
        size_px: Side at which the network works; position embeddings are resized to it.

    Raises:
        BundleError: If the tensors do not fit.
    """
    for key in list(state):
        if key.startswith(EXTRA_HEADS):
            del state[key]
        elif (today := OLD_DENSENET.sub(r"\1\2.", key)) != key:
            state[today] = state.pop(key)
    if isinstance(network, nets.VisionTransformer):
        state = interpolate_embeddings(size_px, network.patch_size, OrderedDict(state))
    try:
        network.load_state_dict(state)
    except RuntimeError as err:
        reason = " ".join(str(err).split())[:200]
        raise BundleError(f"{what} do not fit the network: {reason}") from err
