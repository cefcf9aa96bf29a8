"""Whether a recipe can be trained at all: every name and value, before any data is read."""

from damagenet.bundle import read_card
from damagenet.config import setting
from damagenet.errors import ConfigError
from damagenet.recipe import Choice, Recipe
from damagenet.training.losses import build_loss
from data_prep.augmentation import build_augmentation
from data_prep.splits import check_boxes, check_split
from models.factory import check_model
from models.optimisers import check_optimizer
from models.schedules import check_schedule


def check_recipe(recipe: Recipe) -> None:
    """Check every name and value of a recipe without reading data.

    Raises:
        ConfigError: If a name, a parameter or a combination is unknown or out of range; the
            message names the dotted path.
        BundleError: If the weights to start from cannot be found.
    """
    data, training = recipe.data, recipe.training
    check_model(recipe.model)
    with setting("training.optimizer"):
        check_optimizer(training.optimizer)
    with setting("training.schedule"):
        check_schedule(training.schedule)
    with setting("training.loss"):
        build_loss(training.loss)
    with setting("data.augmentation"):
        build_augmentation(data.augmentation, training.seed)
    with setting("data.split"):
        check_split(data.split)
    with setting("data.exclude_ground"):
        check_boxes(data.exclude_ground)
    _check_transfer(recipe)


def _check_transfer(recipe: Recipe) -> None:
    transfer, weights = recipe.training.transfer, recipe.model.weights
    if transfer == "scratch" and weights is not None:
        raise ConfigError(
            f"model.weights is {weights!r} but training.transfer is scratch: choose finetune or "
            "linear_probe, or leave the weights out"
        )
    if transfer != "scratch" and weights is None:
        raise ConfigError(f"training.transfer {transfer} needs model.weights: name a bundle")
    if weights is None:
        return
    theirs = read_card(weights).model
    for part in ("architecture", "activation"):
        own, given = getattr(recipe.model, part), getattr(theirs, part)
        if own != given:
            raise ConfigError(
                f"model.{part} is {_in_words(own)} but the weights in {weights!r} are of "
                f"{_in_words(given)}: name the same"
            )


def _in_words(choice: Choice) -> str:
    parameters = "".join(f", {name}: {value}" for name, value in choice.parameters.items())
    return f"{choice.name!r}{parameters}"
