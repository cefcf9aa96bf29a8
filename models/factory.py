"""From the settings of a model to its network."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from damagenet.config import setting
from damagenet.errors import ConfigError
from damagenet.recipe import DEFAULT, Choice, ModelSettings
from models import autoinit
from models.activations import ActivationMaker, activation_maker
from models.architectures import ARCHITECTURES, REPLACING, Architecture, find_architecture
from models.classifier import Classifier
from models.initialisers import check_initialiser, initialise
from models.normalise import Normalise, black_after
from models.regularisers import check_regulariser, regularise
from models.site_shapes import site_shapes
from models.stochastic_depth import take_out_scaling

__all__ = [
    "ARCHITECTURES",
    "as_built",
    "build_network",
    "build_pretrained",
    "check_model",
    "outline",
]

CHIP_PX = 128
"""Side of a chip."""


def check_model(model: ModelSettings) -> None:
    """Raise ConfigError if a name or a parameter of the model is unknown; allocates no network."""
    with setting("model.architecture"):
        architecture = find_architecture(model.architecture)
    with setting("model.activation"):
        _check_activation(model, architecture)
    with setting("model.init"):
        check_initialiser(model.init)
        _check_followed(model, architecture)
    with setting("model.regulariser"):
        check_regulariser(model.regulariser)
    if model.from_imagenet:
        with setting("model.weights"):
            _imagenet_name(model, architecture)


def build_network(
    model: ModelSettings,
    *,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    inputs: Sequence[str] = ("post",),
    size_px: int = CHIP_PX,
) -> Classifier:
    """Return a fresh network: images uint8 or float (N, 3, S, S) in 0..255 -> logits (N, 1).

    No weights are read, whatever `model.weights` says: a bundle's own come into it afterwards.

    Args:
        model: Architecture, activation and initialiser by name.
        pixel_mean: Mean of red, green and blue over the training pixels, 0..255.
        pixel_std: Their standard deviation.
        inputs: The images that one chip is made of, in order.
        size_px: Side of a chip; the architecture's own parameter `size_px` comes first.

    Raises:
        ConfigError: If a name or a parameter is unknown or out of range.
    """
    check_model(model)
    architecture = find_architecture(model.architecture)
    normalise = Normalise(pixel_mean, pixel_std, smallest_px=architecture.smallest_px)
    black = black_after(pixel_mean, pixel_std)
    features, count = _features(model, architecture, inputs=inputs, size_px=size_px, black=black)
    regularise(features, model.regulariser, architecture)
    head = architecture.head(count, **model.architecture.parameters)
    network = Classifier(normalise, features, head, images=len(inputs))
    with setting("model.init"):
        initialise(network, model.init, examples=_examples(inputs, size_px))
    if architecture.fix_head is not None:
        architecture.fix_head(network.head)
    return network.to(memory_format=torch.channels_last)


def outline(model: ModelSettings, *, inputs: Sequence[str] = ("post",)) -> Classifier:
    """Return the network of a model on torch's `meta` device: names and shapes, no memory.

    Raises:
        ConfigError: If a name or a parameter is unknown or out of range.
    """
    check_model(model)
    # What has no memory cannot be started; autoinit would measure its signals in vain.
    plain = model.model_copy(update={"init": Choice(name=DEFAULT)})
    with torch.device("meta"):
        return build_network(plain, pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1), inputs=inputs)


def build_pretrained(
    model: ModelSettings, *, inputs: Sequence[str] = ("post",), size_px: int = CHIP_PX
) -> Classifier:
    """Return a backbone with its ImageNet weights and a fresh head, else as `build_network`.

    Its first layer has the pixel statistics that belong to the weights.

    Args:
        model: Its `weights` are `imagenet` or `imagenet:NAME`.
        inputs: The images that one chip is made of, in order.
        size_px: Side of a chip.

    Raises:
        ConfigError: As `build_network`, and if there are no such weights.
        BundleError: If the weights can neither be found nor downloaded.
    """
    check_model(model)
    architecture = find_architecture(model.architecture)
    name = _imagenet_name(model, architecture)
    assert architecture.backbone is not None
    pixels = architecture.backbone.weights[name]
    normalise = Normalise(pixels.mean, pixels.std, smallest_px=architecture.smallest_px)
    features, count = _features(
        model,
        architecture,
        inputs=inputs,
        size_px=size_px,
        weights=name,
        black=black_after(pixels.mean, pixels.std),
    )
    regularise(features, model.regulariser, architecture)
    take_out_scaling(features)
    head = architecture.head(count, **model.architecture.parameters)
    network = Classifier(normalise, features, head, images=len(inputs))
    return network.to(memory_format=torch.channels_last)


def as_built(model: ModelSettings) -> ModelSettings:
    """Return the settings with the activation that `default` stands for, where it is one."""
    own = find_architecture(model.architecture).activation
    if model.activation.name != DEFAULT or own is None:
        return model
    return model.model_copy(update={"activation": own})


def _features(
    model: ModelSettings,
    architecture: Architecture,
    *,
    inputs: Sequence[str],
    size_px: int,
    weights: str | None = None,
    black: Sequence[float] | None = None,
) -> tuple[nn.Module, int]:
    backbone = architecture.backbone
    given: dict[str, object] = {"size_px": (backbone and backbone.fixed_px) or size_px}
    given |= model.architecture.parameters
    if backbone is not None:
        given["weights"] = weights
    if architecture.takes_black and black is not None:
        given["black"] = black
    channels_in = 3 * len(inputs)
    make = _maker(model, architecture)
    build = partial(architecture.features, channels_in=channels_in, **given)
    # The sites of a backbone are measured where they are replaced.
    if make is not None and make.needs_shapes and backbone is None:
        shapes = site_shapes(build, channels_in=channels_in, size_px=size_px)
        make.shapes = tuple(shapes)
    return build(make=make)


def _maker(model: ModelSettings, architecture: Architecture) -> ActivationMaker | None:
    """Return what makes the activations; None where a backbone keeps its own."""
    asked = model.activation
    if asked.name == DEFAULT and asked.parameters:
        raise ConfigError(
            f"activation {DEFAULT!r} takes no parameters, got {', '.join(asked.parameters)}"
        )
    if asked.name != DEFAULT and not architecture.takes_activation:
        raise ConfigError(
            f"{model.architecture.name!r} has no place for activation {asked.name!r}: leave it out"
        )
    chosen = architecture.activation if asked.name == DEFAULT else asked
    if chosen is None:
        _require_none_replaced(model)
        return None
    make = activation_maker(chosen)
    if architecture.backbone is not None and not make.keeps_width:
        raise ConfigError(
            f"activation {chosen.name!r} changes the number of channels, so that it does not fit "
            f"between the layers of {architecture.backbone.name!r}: choose one that keeps it"
        )
    return make


def _check_activation(model: ModelSettings, architecture: Architecture) -> None:
    make = _maker(model, architecture)
    joins_channels = make is not None and make.setting.function.width is not None
    if joins_channels and architecture.backbone is None:
        # Whether its widths fit is seen by building; torch's `meta` device has no memory.
        with torch.device("meta"):
            _features(model, architecture, inputs=("post",), size_px=architecture.smallest_px)


def _check_followed(model: ModelSettings, architecture: Architecture) -> None:
    """Raise ConfigError if the initialiser cannot start our own network; allocates none."""
    if model.init.name != autoinit.NAME or architecture.backbone is not None:
        return
    size_px = max(CHIP_PX, architecture.smallest_px)
    with torch.device("meta"):
        features, count = _features(model, architecture, inputs=("post",), size_px=size_px)
        network = Classifier(
            Normalise((0, 0, 0), (1, 1, 1)), features, nn.Linear(count, 1), images=1
        )
    autoinit.walk(network, _examples(("post",), size_px), autoinit.read_options(model.init))


def _examples(inputs: Sequence[str], size_px: int) -> list[torch.Tensor]:
    """Return images without values, as a network takes them."""
    return [torch.empty(1, 3, size_px, size_px, device="meta") for _ in inputs]


def _require_none_replaced(model: ModelSettings) -> None:
    for name in REPLACING:
        if name in model.architecture.parameters:
            raise ConfigError(
                f"architecture parameter {name} says where activations are replaced, and the "
                f"activation is {DEFAULT!r}: name one, or leave {name} out"
            )


def _imagenet_name(model: ModelSettings, architecture: Architecture) -> str:
    if architecture.backbone is None:
        raise ConfigError(
            f"there are no ImageNet weights for {model.architecture.name!r}: choose a backbone "
            "as model.architecture, as efficientnet_lite0 or resnet18"
        )
    return architecture.backbone.weights_name(model.imagenet_name)
