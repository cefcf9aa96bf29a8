"""From a recipe to a bundle: check, split, train, choose the epoch, calibrate, write."""

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.utilities import rank_zero_only

from damagenet.bundle import CARD_FILE, Bundle, load_bundle
from damagenet.bundle_writing import save_bundle
from damagenet.config import make_settings
from damagenet.errors import OutputError
from damagenet.recipe import Recipe
from damagenet.training.card import describe_network
from damagenet.training.checks import check_recipe
from damagenet.training.data import open_training_data
from damagenet.training.fitting import Fitting, fit
from damagenet.training.hardware import Hardware, check_hardware
from damagenet.training.head import SEARCHER, is_solver
from damagenet.training.head_training import train_head
from damagenet.training.lightning_module import DamageModule, network_state
from damagenet.training.probe import probe_head
from damagenet.training.processes import ending_together, let_only_the_first_speak
from damagenet.training.rounds import ROUNDS, last_round
from damagenet.training.start import start_network
from damagenet.training.trainer import BEST, LAST, LOGS
from models.activations.fused import kernels_without_gradients

if TYPE_CHECKING:
    from data_prep.harvey import HarveyTiles

log = logging.getLogger(__name__)

BUNDLE = "bundle"
RECIPE_FILE = "recipe.json"
ONE_PROCESS = Hardware()


@kernels_without_gradients()
def train(
    recipe: Recipe,
    out: Path,
    *,
    tiles: "HarveyTiles | None" = None,
    resume: bool = True,
    hardware: Hardware = ONE_PROCESS,
    command: str = "",
    progress: bool = True,
) -> Bundle:
    """Train by a recipe and return the bundle, which lies in `out/bundle`.

    The split is made inside, from `recipe.data`; the test part is never read. With `resume` an
    interrupted training continues after its last whole epoch, on the same hardware or another, and
    a finished one is returned. Of several processes each returns the bundle.

    Args:
        recipe: What to train, on what, and how.
        out: Gets the recipe, checkpoints, logs and the bundle.
        tiles: The prepared data set; without it `recipe.data.path` is opened.
        resume: Continue what is in `out`; otherwise a training that lies there is deleted.
        hardware: Devices and machines. On more than one, Lightning starts this program again for
            each other device of the machine.
        command: What is written into the card as the command that made it.
        progress: Whether a bar is drawn on stderr.

    Raises:
        ConfigError: If a name or a value in the recipe is unknown, or does not fit the hardware,
            before any data is read.
        DeviceError: If the machine lacks the devices.
        CancelledError: If another process of the training was killed.
        OutputError: If `out` holds another training, or cannot be written.
        DataError: If the data set is missing or the split leaves nothing.
        LeakError: If the split leaks and the recipe does not allow it.
        BundleError: If the weights to start from cannot be found, downloaded or read.
        EvaluationError: If the training diverged, or a tensor cannot be rescaled for a new round.
    """
    let_only_the_first_speak()
    check_recipe(recipe)
    check_hardware(hardware, recipe)
    if resume and _is_finished(out, recipe):
        log.info("%s is already trained: %s", recipe.name, out / BUNDLE)
        return load_bundle(out / BUNDLE)
    if is_solver(recipe.training.optimizer):
        _claim(out, recipe, resume=resume)
        if recipe.training.optimizer.name == SEARCHER:
            solved = probe_head(recipe, out, tiles, command=command)
        else:
            solved = train_head(recipe, tiles, command=command)
        save_bundle(
            out / BUNDLE,
            solved.card,
            solved.network,
            solved.learned,
            neighbours=solved.neighbours,
        )
        return load_bundle(out / BUNDLE)
    data = open_training_data(recipe, tiles)
    module = DamageModule(start_network(recipe, data), recipe.training)
    _claim(out, recipe, resume=resume)
    log.info("%s", data.split.description)
    how = Fitting(hardware=hardware, resume=resume, progress=progress, claimed=out / RECIPE_FILE)
    last, module = last_round(recipe, out, data, module, how)
    trainer = fit(last, out, data, module, how)
    with ending_together(trainer):
        # Only tensors are read back from our own checkpoint, never code.
        best = torch.load(out / f"{BEST}.ckpt", map_location="cpu", weights_only=True)
        module.network.load_state_dict(network_state(best["state_dict"]))
        if trainer.is_global_zero:
            made = describe_network(recipe, data, module.network, command=command)
            save_bundle(
                out / BUNDLE, made.card, module.network, data.manifest, neighbours=made.neighbours
            )
        trainer.strategy.barrier()
    return load_bundle(out / BUNDLE)


def _is_finished(out: Path, recipe: Recipe) -> bool:
    """Whether the folder holds this training whole; raise OutputError if it holds another."""
    path = out / RECIPE_FILE
    if path.exists() and not _tells(path, recipe):
        raise OutputError(
            f"{out} holds a training by another recipe ({path}): choose another folder, or "
            "start it anew with --no-resume"
        )
    return path.exists() and (out / BUNDLE / CARD_FILE).exists()


@rank_zero_only
def _claim(out: Path, recipe: Recipe, *, resume: bool) -> None:
    """Make the folder this recipe's own, without what an earlier training left if not resumed."""
    path = out / RECIPE_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resume and path.exists():
            for name in (f"{BEST}.ckpt", f"{LAST}.ckpt"):
                (out / name).unlink(missing_ok=True)
            for name in (BUNDLE, LOGS, ROUNDS):
                shutil.rmtree(out / name, ignore_errors=True)
        path.write_text(_told(recipe), encoding="utf-8")
    except FileExistsError as err:
        raise OutputError(f"{out} is a file: name a folder") from err
    except OSError as err:
        raise OutputError(f"cannot write to {out}: {err.strerror}") from err


def _tells(path: Path, recipe: Recipe) -> bool:
    """Whether a file holds the recipe; settings that are younger than the file have defaults."""
    try:
        return make_settings(Recipe, json.loads(path.read_text(encoding="utf-8"))) == recipe
    except ValueError:
        return False


def _told(recipe: Recipe) -> str:
    return json.dumps(recipe.model_dump(mode="json"), indent=2) + "\n"
