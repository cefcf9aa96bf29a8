"""Layer-wise re-initialisation: a training in rounds, each from the lower layers of the one before.

OUT/rounds/1/end.safetensors   the network as the first round left it; the last round is in OUT
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from damagenet.devices import best_batch, resolve_device
from damagenet.recipe import Recipe
from damagenet.training.data import TrainingData
from damagenet.training.fitting import Fitting, fit
from damagenet.training.lightning_module import DamageModule, network_state
from damagenet.training.start import start_network
from damagenet.training.trainer import BEST, LAST
from data_prep.datasets import tile_tensor
from models.classifier import Classifier
from models.factory import outline
from models.reinit import Layerwise, blocks, find_reinit, rescale, state_names
from models.standardise import add_standardisation, entering_channels, measure

log = logging.getLogger(__name__)

ROUNDS = "rounds"
END = "end.safetensors"
State = dict[str, torch.Tensor]


def round_recipe(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of a round (from 0): the same, but for other random numbers."""
    seed = (recipe.training.seed + 1_000_003 * number) % 2**32
    training = recipe.training.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"training": training})


def last_round(
    recipe: Recipe, out: Path, data: TrainingData, module: DamageModule, how: Fitting
) -> tuple[Recipe, DamageModule]:
    """Train all rounds but the last one; return the recipe and the module of that.

    Earlier rounds end with their last epoch; only the last one chooses its best. Those that are
    finished are not repeated.

    Args:
        recipe: Without rounds it comes back as it is, and so does the module.
        out: Folders in it get the rounds.
        data: What is learned from.
        module: The first round's.
        how: How the rounds are fitted.

    Raises:
        EvaluationError: If a tensor of a round cannot be rescaled.
    """
    plan = find_reinit(recipe.training.reinit)
    if not isinstance(plan, Layerwise):
        return recipe, module
    ends = [out / ROUNDS / str(number + 1) / END for number in range(plan.rounds - 1)]
    finished = sum(end.exists() for end in ends) if how.resume else 0
    for number in range(finished, plan.rounds):
        current = round_recipe(recipe, number)
        log.info("round %d of %d", number + 1, plan.rounds)
        if number > 0:
            network = restarted(recipe, data, plan, number, load_file(ends[number - 1]))
            module = DamageModule(network, current.training)
        if number < len(ends):
            _train_round(current, ends[number], data, module, how)
    return current, module


def restarted(
    recipe: Recipe, data: TrainingData, plan: Layerwise, number: int, state: State
) -> Classifier:
    """Return the network that a round starts from, in training mode.

    Args:
        recipe: Of the whole training.
        data: What is learned from; kept features are standardised on it.
        plan: Rounds and blocks.
        number: Of the round, from 0; not the first.
        state: Of the network that the round before ended with.

    Raises:
        EvaluationError: If a tensor cannot be rescaled.
    """
    # The round's own comes last, so that torch stays seeded for it.
    start = start_network(recipe, data)
    network = start_network(round_recipe(recipe, number), data)
    parts = blocks(network, plan.blocks)
    kept = [stage for part in parts[: plan.kept(number, len(parts))] for stage in part]
    names = plan.standardised(parts, number)
    if names:
        found = entering_channels(outline(recipe.model), names)
        add_standardisation(network, found)
    staying = state_names(network, kept)
    network.load_state_dict({name: state[name] for name in staying}, strict=False)
    if plan.rescale:
        rescale(network, start, staying)
    if names:
        device = resolve_device("auto")
        for name in names:
            measure(network.to(device), name, lambda: _training_images(data, device))
    words = ", ".join(stage.name.removeprefix("backbone.") for stage in kept) or "nothing"
    log.info("keeps %s, starts all else anew", words)
    return network.cpu()


def _train_round(
    recipe: Recipe, end: Path, data: TrainingData, module: DamageModule, how: Fitting
) -> None:
    """Train a round and write the network as its last epoch left it to the file `end`."""
    trainer = fit(recipe, end.parent, data, module, how)
    if trainer.is_global_zero:
        last = torch.load(end.parent / f"{LAST}.ckpt", map_location="cpu", weights_only=True)
        # Where a training was cut after its last epoch, nothing is left to fit, and averaged
        # weights are in its checkpoint alone.
        over = last["epoch"] == recipe.training.epochs - 1
        state = network_state(last["state_dict"]) if over else module.network.state_dict()
        # Copies, as parameters that several sites share may not share memory in the file.
        copies = {name: value.cpu().clone().contiguous() for name, value in state.items()}
        partial = end.with_name(f".{end.name}.partial")
        partial.write_bytes(save(copies))
        partial.rename(end)
        for name in (BEST, LAST):
            (end.parent / f"{name}.ckpt").unlink(missing_ok=True)
    trainer.strategy.barrier()


def _training_images(data: TrainingData, device: torch.device) -> Iterator[torch.Tensor]:
    """Yield the training tiles as they are, uint8 (N, 3, S, S), in order."""
    rows, at_once = data.split.train, best_batch(device)
    for start in range(0, len(rows), at_once):
        yield tile_tensor(data.tiles, rows[start : start + at_once]).to(device)
