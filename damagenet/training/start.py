"""What a training starts from: nothing, ImageNet weights, or the weights of a bundle."""

import torch
from lightning import seed_everything
from torch import nn

from damagenet.bundle import Bundle, load_bundle
from damagenet.errors import ConfigError
from damagenet.recipe import ModelSettings, Recipe
from damagenet.training.data import TrainingData, pixel_statistics
from models.activations import Activation
from models.classifier import Classifier
from models.factory import as_built, build_network, build_pretrained
from models.standardise import add_standardisation
from models.stochastic_depth import take_in_scaling, take_out_scaling

BUILT_IN = ("architecture", "activation", "regulariser")
"""Settings of a model that decide what its network is, whatever its weights."""


def start_network(recipe: Recipe, data: TrainingData) -> Classifier:
    """Return the network of a recipe as it is before the first step, in training mode.

    Only a network from nothing takes the pixel statistics of the training tiles: others keep
    those that their weights were trained with.

    Raises:
        ConfigError: If the weights do not fit the network.
        BundleError: If the weights cannot be found, downloaded or read.
    """
    seed_everything(recipe.training.seed, verbose=False)
    model = recipe.model
    if model.weights is None:
        mean, std = pixel_statistics(data.tiles.pixels, data.split.train)
        return build_network(model, pixel_mean=mean, pixel_std=std)
    if model.from_imagenet:
        return build_pretrained(model)
    return _from_bundle(load_bundle(model.weights), model)


def start_frozen(recipe: Recipe) -> Classifier:
    """Return a network whose features stay, from ImageNet or a bundle; for a head to be solved.

    Raises:
        ConfigError: If the weights do not fit the network, or the bundle takes other pictures.
        BundleError: If the weights cannot be found, downloaded or read.
    """
    model, inputs = recipe.model, recipe.data.inputs
    if model.from_imagenet:
        return build_pretrained(model, inputs=inputs)
    assert model.weights is not None  # checked with the recipe
    bundle = load_bundle(model.weights)
    if bundle.card.inputs != inputs:
        raise ConfigError(
            f"data.inputs is {', '.join(inputs)} but the weights in {model.weights!r} take "
            f"{', '.join(bundle.card.inputs)}: name the same"
        )
    return _from_bundle(bundle, model)


def _from_bundle(bundle: Bundle, model: ModelSettings) -> Classifier:
    """Return a bundle's network, with the activation and the regulariser that the model has."""
    card = bundle.card
    own, theirs = as_built(model), as_built(card.model)
    if all(getattr(own, name) == getattr(theirs, name) for name in BUILT_IN):
        return bundle.network.train()
    network = build_network(
        model,
        pixel_mean=card.pixel_mean,
        pixel_std=card.pixel_std,
        inputs=card.inputs,
        size_px=card.chip.size_px,
    )
    add_standardisation(network, card.standardised or {})
    take_in_scaling(bundle.network)
    copy_weights(bundle.network, network)
    take_out_scaling(network)
    return network


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights and statistics but those inside activations.

    Args:
        source: Trained.
        target: The same network with other activations, whose own parameters stay.

    Raises:
        ConfigError: If the networks differ in anything else.
    """
    sites = (*_activation_paths(source), *_activation_paths(target))
    given, taken = _outside(source, sites), _outside(target, sites)
    unlike = [
        name
        for name in {**given, **taken}
        if name not in given or name not in taken or given[name].shape != taken[name].shape
    ]
    if unlike:
        raise ConfigError(
            f"the weights do not fit a network with this activation: {unlike[0]} differs"
        )
    target.load_state_dict(given, strict=False)


def _activation_paths(network: nn.Module) -> list[str]:
    sites = [name for name, part in network.named_modules() if isinstance(part, Activation)]
    return [f"{name}." for name in sites]


def _outside(network: nn.Module, sites: tuple[str, ...]) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    return {name: value for name, value in state.items() if not name.startswith(sites)}
