"""The networks that are compared: one recipe for each."""

from pathlib import Path

from damagenet.bundle import read_card, shipped_bundles
from damagenet.errors import ConfigError, LeakError
from damagenet.evaluation.seen_ground import learned_tiles, seen_tiles
from damagenet.recipe import DEFAULT, IMAGENET, Choice, ModelSettings, Recipe
from damagenet.training.data import TrainingData
from models.architectures import find_architecture


def recipe_of(recipe: Recipe, network: str) -> Recipe:
    """Return a recipe with another network in the same training.

    Args:
        recipe: Its protocol decides whether the weights are taken.
        network: A backbone, with its ImageNet weights, or a bundle's name or folder.

    Raises:
        ConfigError: If there is neither.
        BundleError: If the bundle cannot be read.
    """
    if network in shipped_bundles() or Path(network).is_dir():
        card = read_card(network)
        architecture, activation = card.model.architecture, card.model.activation
        weights = network
    else:
        architecture, activation = Choice(name=network), Choice(name=DEFAULT)
        if find_architecture(architecture).backbone is None:
            raise ConfigError(
                f"--networks: {network!r} has no ImageNet weights: name backbones, as resnet18, or "
                "bundles"
            )
        weights = IMAGENET
    model = recipe.model.model_copy(
        update={
            "architecture": architecture,
            "activation": activation,
            "weights": None if recipe.training.transfer == "scratch" else weights,
        }
    )
    return recipe.model_copy(update={"model": model})


def imagenet_top1(model: ModelSettings) -> float | None:
    """Return the share of ImageNet that a network's published weights tell right, where known.

    A network that starts from nothing has that of its usual weights, as in the paper.
    """
    backbone = find_architecture(model.architecture).backbone
    if backbone is None or model.source_bundle is not None or not backbone.weights:
        return None
    return backbone.top1.get(backbone.weights_name(model.imagenet_name))


def require_unseen(model: ModelSettings, data: TrainingData, *, allow_leak: bool) -> None:
    """Refuse a source bundle that has learned from the ground of the test.

    Raises:
        LeakError: If it has, and that is not allowed.
        BundleError: If nobody knows what it has seen.
    """
    if model.source_bundle is None or allow_leak:
        return
    test = data.tiles.manifest.iloc[data.split.test]
    seen = int(seen_tiles(test, learned_tiles(model.source_bundle)).sum())
    if seen:
        raise LeakError(
            f"the weights of {model.source_bundle!r} have seen the ground of {seen} of {len(test)} "
            f"test tiles of split {data.split.name!r}: choose another split or network, or allow "
            "the leak by name (data.allow_leak: true)"
        )
