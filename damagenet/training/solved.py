"""Whether a recipe whose head is solved for, instead of trained in steps, can be heeded whole."""

from damagenet.errors import ConfigError
from damagenet.recipe import Recipe, TrainingSettings
from damagenet.training.head import SEARCHER, SOLVER, strength

STEPPED = (
    "schedule",
    "loss",
    "activation_lr",
    "layer_decay",
    "freeze_stages",
    "reinit",
    "epochs",
    "batch_size",
    "bn_momentum",
    "precision",
    "average_weights",
    "early_stopping",
)
"""Settings of a training in steps; what is solved for has none of them."""


def check_solved(recipe: Recipe) -> None:
    """Refuse what a head that is solved for cannot heed.

    Raises:
        ConfigError: If the recipe trains more than the head, or has settings without effect.
    """
    training = recipe.training
    solver = training.optimizer.name
    searches = solver == SEARCHER
    if training.transfer != "linear_probe":
        raise ConfigError(
            f"training.optimizer {solver!r} solves for the head alone, training.transfer is "
            f"{training.transfer}: choose linear_probe, or another optimizer"
        )
    for name in STEPPED if searches else (*STEPPED, "select_on"):
        value = getattr(training, name)
        if value != getattr(TrainingSettings(), name):
            raise ConfigError(
                f"training.{name} is without effect where training.optimizer is {solver!r}, which "
                "takes no steps: leave it out"
            )
    if searches:
        _check_searched(recipe)
    else:
        strength(training.optimizer)
        _check_views(recipe)


def _check_views(recipe: Recipe) -> None:
    """Refuse several views that would be one and the same."""
    data = recipe.data
    if data.renderings > 1 and data.augmentation.name == "none":
        raise ConfigError(
            f"data.renderings is {data.renderings} but data.augmentation is none, so that all "
            "views of a tile would be alike: name an augmentation, or leave it out"
        )


def _check_searched(recipe: Recipe) -> None:
    """Refuse what a search over L2 strengths, on features taken once, cannot heed."""
    training, augmentation = recipe.training, recipe.data.augmentation
    if training.optimizer.parameters:
        names = ", ".join(training.optimizer.parameters)
        raise ConfigError(
            f"training.optimizer: {SEARCHER!r} takes no parameters, got {names}: its 45 values of "
            f"l2 are fixed; choose {SOLVER!r} for a single one"
        )
    if augmentation.name != "none":
        raise ConfigError(
            f"data.augmentation is {augmentation.name!r} but training.optimizer {SEARCHER!r} takes "
            "the features of every tile once, as it is: set it to none"
        )
    if training.select_on == "loss":
        raise ConfigError(
            f"training.select_on is loss, which {SEARCHER!r} does not choose by: take accuracy or "
            "balanced_accuracy"
        )
    require_tiles_alone(recipe)


def require_tiles_alone(recipe: Recipe) -> None:
    """Refuse graded scenes, pairs, single passes and views, which only one solver learns from.

    Raises:
        ConfigError: If the recipe names them.
    """
    data = recipe.data
    for name in ("inputs", "passes", "graded", "renderings"):
        if getattr(data, name) != type(data).model_fields[name].default:
            raise ConfigError(
                f"data.{name} is for heads that are solved for: set training.transfer to "
                f"linear_probe and training.optimizer to {SOLVER}, or leave it out"
            )
