"""Whether a recipe can be trained at all: every name and value, before any data is read."""

import logging
import math

from damagenet.bundle import read_card
from damagenet.config import setting
from damagenet.errors import ConfigError
from damagenet.recipe import DEFAULT, Choice, ModelSettings, Recipe
from damagenet.training.head import SOLVER, is_solver
from damagenet.training.losses import build_loss
from damagenet.training.solved import check_solved, require_tiles_alone
from data_prep.augmentation import build_augmentation
from data_prep.splits import check_boxes, check_split
from models.activations import activation_maker
from models.architectures import REPLACING, find_architecture
from models.batch_norms import FASTEST, set_momentum
from models.capsules.mocapsnet import steps_backwards
from models.capsules.momentum import EXACT_GAMMA, EXACT_STEPS
from models.compatibility import check_compatible
from models.factory import as_built, check_model, outline
from models.optimisers import build_optimizer, check_optimizer
from models.reinit import HeadOnly, Layerwise, blocks, find_reinit
from models.schedules import check_schedule
from models.stages import freeze
from models.standardise import entering_channels

log = logging.getLogger(__name__)


def check_recipe(recipe: Recipe) -> None:
    """Check every name and value of a recipe without reading data.

    Raises:
        ConfigError: If a name, a parameter or a combination is unknown or out of range; the
            message names the dotted path.
        BundleError: If the weights to start from cannot be found.
    """
    data, training = recipe.data, recipe.training
    check_compatible(recipe)
    check_model(recipe.model)
    _check_precision(recipe)
    if is_solver(training.optimizer):
        check_solved(recipe)
    else:
        _check_stepped(recipe)
        with setting("training.optimizer"):
            check_optimizer(training.optimizer)
    with setting("training.schedule"):
        check_schedule(training.schedule)
    with setting("training.loss"):
        build_loss(training.loss)
    with setting("data.augmentation"):
        augmentation = build_augmentation(data.augmentation, training.seed)
    if augmentation.needs_other and is_solver(training.optimizer):
        raise ConfigError(
            f"data.augmentation is {augmentation.name!r}, which needs a tile of the other class, "
            f"but training.optimizer {training.optimizer.name!r} takes each chip alone: choose "
            "another"
        )
    if data.balance != "none" and is_solver(training.optimizer):
        raise ConfigError(
            f"data.balance is {data.balance} but training.optimizer {training.optimizer.name!r} "
            "solves for all chips at once: leave it out"
        )
    with setting("data.split"):
        check_split(data.split)
    with setting("data.exclude_ground"):
        check_boxes(data.exclude_ground)
    _check_transfer(recipe)
    _check_capsules(recipe)
    _check_layers(recipe)
    with setting("training.reinit"):
        _check_reinit(recipe)


def _check_precision(recipe: Recipe) -> None:
    """Refuse what no test shows to leave the gradients of spikes as they are."""
    precision = recipe.training.precision
    if find_architecture(recipe.model.architecture).family == "spiking" and precision == "16-mixed":
        raise ConfigError(
            f"training.precision {precision} is not tested for the spiking network "
            f"{recipe.model.architecture.name!r}: choose 32 or bf16-mixed"
        )


def _check_stepped(recipe: Recipe) -> None:
    require_tiles_alone(recipe)
    training = recipe.training
    if training.activation_lr == math.inf:
        raise ConfigError("training.activation_lr is inf: name a finite rate, or leave it out")
    if training.transfer == "linear_probe" and recipe.data.augmentation.name != "none":
        # The protocol takes the features of every tile as it is (arXiv:1805.08974). `lbfgs` is let
        # pass on purpose: harvey_event and harvey_pair judge scenes that were rendered otherwise
        # than the tiles, so their heads learn from rendered views.
        raise ConfigError(
            f"data.augmentation is {recipe.data.augmentation.name!r} but training.transfer is "
            f"linear_probe: set it to none, or training.optimizer to {SOLVER}, which learns from "
            "augmented views"
        )
    if training.bn_momentum is not None and training.transfer == "linear_probe":
        raise ConfigError(
            "training.bn_momentum is without effect where training.transfer is linear_probe, in "
            "which the batch norms rest: leave it out"
        )


def _check_transfer(recipe: Recipe) -> None:
    transfer, model = recipe.training.transfer, recipe.model
    if transfer == "scratch" and model.weights is not None:
        raise ConfigError(
            f"model.weights is {model.weights!r} but training.transfer is scratch: choose finetune "
            "or linear_probe, or leave the weights out"
        )
    if transfer != "scratch" and model.weights is None:
        raise ConfigError(
            f"training.transfer {transfer} needs model.weights: name a bundle, or imagenet"
        )
    _check_frozen(recipe)
    if model.weights is None:
        return
    if model.init != Choice(name=DEFAULT):
        raise ConfigError(
            f"model.init is {_in_words(model.init)} but model.weights already gives the start: "
            "leave one out"
        )
    if transfer == "linear_probe" and model.regulariser != Choice(name="none"):
        raise ConfigError(
            f"model.regulariser is {_in_words(model.regulariser)} but training.transfer is "
            "linear_probe, in which the features rest: leave it out, or choose finetune"
        )
    if model.from_imagenet:
        changed = _in_words(model.activation) if model.activation.name != DEFAULT else None
    else:
        changed = _changed_activation(model, model.weights)
    if changed and transfer == "linear_probe":
        raise ConfigError(
            f"training.transfer is linear_probe but model.activation {changed} is not the one the "
            "weights were trained with, and only the head would learn: choose finetune"
        )


def _check_frozen(recipe: Recipe) -> None:
    """Refuse what would be without effect, or keep a stage as chance made it."""
    training = recipe.training
    if training.transfer == "scratch" and training.freeze_stages:
        raise ConfigError(
            f"training.freeze_stages is {training.freeze_stages} but training.transfer is scratch: "
            "they would never be trained"
        )
    if training.transfer != "linear_probe":
        return
    for name in ("freeze_stages", "layer_decay"):
        value = getattr(training, name)
        if value != type(training).model_fields[name].default:
            raise ConfigError(
                f"training.{name} is {value} but training.transfer is linear_probe, which trains "
                "no stage: leave it out, or choose finetune"
            )


def _check_layers(recipe: Recipe) -> None:
    """Refuse what is set for layers that a network lacks, and noise for layers that rest."""
    training = recipe.training
    chosen = {"first_fraction", "layers"} & training.optimizer.parameters.keys()
    if not (chosen or training.freeze_stages or training.bn_momentum is not None):
        return
    network = outline(recipe.model)
    if training.bn_momentum is not None:
        set_momentum(network, FASTEST)
    freeze(network, training.freeze_stages)
    if not chosen:
        return
    if training.transfer == "linear_probe":
        network.features.requires_grad_(False)
    with setting("training.optimizer"):
        build_optimizer(training.optimizer, network, steps=1)


def _check_reinit(recipe: Recipe) -> None:
    training = recipe.training
    plan = find_reinit(training.reinit)
    if isinstance(plan, Layerwise):
        if training.transfer != "scratch":
            raise ConfigError(
                f"layerwise starts layers anew, but training.transfer is {training.transfer}, "
                "which starts from given weights: choose scratch"
            )
        network = outline(recipe.model)
        names = plan.standardised(blocks(network, plan.blocks), plan.rounds - 1)
        if names:
            entering_channels(network, names)
    if isinstance(plan, HeadOnly):
        _check_head_restarts(recipe, plan.every)


def _check_head_restarts(recipe: Recipe, every: int) -> None:
    architecture, training = recipe.model.architecture, recipe.training
    if find_architecture(architecture).fix_head is not None:
        raise ConfigError(
            f"the head of model.architecture {architecture.name!r} is fixed, so that it cannot "
            "start anew: leave training.reinit out"
        )
    if training.transfer == "linear_probe":
        raise ConfigError(
            "head starts anew what alone is trained, as training.transfer is linear_probe: choose "
            "finetune or scratch, or leave training.reinit out"
        )
    if every >= training.epochs:
        raise ConfigError(
            f"every is {every}, so that within {training.epochs} epochs no head starts anew: "
            "choose a smaller number"
        )
    if training.average_weights:
        raise ConfigError(
            "head would be averaged with the heads before it, as training.average_weights is "
            f"{training.average_weights}: set it to 0"
        )


def _changed_activation(model: ModelSettings, weights: str) -> str | None:
    """Return the model's activation where the weights are of another one.

    Raises:
        ConfigError: If the architecture is another one, or the activations do not take the same
            weights.
        BundleError: If the weights are in no bundle.
    """
    own, theirs = as_built(model), as_built(read_card(weights).model)
    if _shape(own.architecture) != _shape(theirs.architecture):
        raise ConfigError(
            f"model.architecture is {_in_words(own.architecture)} but the weights in {weights!r} "
            f"are of {_in_words(theirs.architecture)}: name the same"
        )
    if (own.activation, own.architecture) == (theirs.activation, theirs.architecture):
        return None
    for activation in (own.activation, theirs.activation):
        if activation.name != DEFAULT and not activation_maker(activation).keeps_width:
            raise ConfigError(
                f"model.activation is {_in_words(own.activation)} but the weights in {weights!r} "
                f"are of {_in_words(theirs.activation)}, which takes other numbers of channels: "
                "name the same"
            )
    return _in_words(own.activation)


def _check_capsules(recipe: Recipe) -> None:
    """Refuse capsules without their loss, and numbers too coarse for them."""
    choice, training = recipe.model.architecture, recipe.training
    if find_architecture(choice).family != "capsules":
        return
    if training.loss.name != "margin":
        raise ConfigError(
            f"training.loss is {training.loss.name!r}, and model.architecture {choice.name!r} "
            "says a class by the length of its capsule: set training.loss to margin"
        )
    backwards = steps_backwards(choice.parameters)
    if backwards is None:
        return
    if training.precision != "32":
        raise ConfigError(
            f"training.precision is {training.precision}, too coarse to compute the activations of "
            f"{choice.name!r} backwards: set it to 32, or model.architecture.reversible to false"
        )
    steps, gamma = backwards
    if gamma < EXACT_GAMMA or steps > EXACT_STEPS:
        log.warning(
            "%s computes %d steps backwards with gamma %s: below %s, or beyond %d steps, rounding "
            "may spoil the gradients",
            *(choice.name, steps, gamma, EXACT_GAMMA, EXACT_STEPS),
        )


def _shape(architecture: Choice) -> Choice:
    """Return an architecture without what says where activations are replaced."""
    kept = {key: value for key, value in architecture.parameters.items() if key not in REPLACING}
    return Choice(name=architecture.name, parameters=kept)


def _in_words(choice: Choice) -> str:
    parameters = "".join(f", {name}: {value}" for name, value in choice.parameters.items())
    return f"{choice.name!r}{parameters}"
