"""Fitting one module on the tiles of a recipe: trainer, loaders, and where it continues."""

from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import Callback, Trainer

from damagenet.devices import best_batch
from damagenet.recipe import Recipe
from damagenet.training.data import TrainingData
from damagenet.training.hardware import Hardware
from damagenet.training.head_restart import head_restarts
from damagenet.training.lightning_module import DamageModule
from damagenet.training.processes import Together
from damagenet.training.trainer import LAST, fit_or_interrupt, make_trainer, without_advice
from models.batch_norms import auto_momentum, set_momentum
from models.shared_batch import share_batches
from models.stochastic_depth import skips_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How modules are fitted.

    Attributes:
        hardware: Devices and machines.
        resume: Continue from the last checkpoint in a folder.
        progress: Whether a bar is drawn on stderr.
        claimed: A file that the first process has written where the training lies.
    """

    hardware: Hardware
    resume: bool
    progress: bool
    claimed: Path


def fit(
    recipe: Recipe, out: Path, data: TrainingData, module: DamageModule, how: Fitting
) -> Trainer:
    """Train the module's network in place; checkpoints and logs lie in `out`.

    Raises:
        ConfigError: If the hardware does not fit the network or the tiles.
    """
    settings, hardware = recipe.training, how.hardware
    together: list[Callback] = []
    if hardware.processes > 1:
        share_batches(module.network)
        together = [Together(how.claimed)]
    batch = best_batch(torch.device("cuda" if hardware.on_gpu else "cpu"))
    last = out / f"{LAST}.ckpt"
    with without_advice():
        trainer = make_trainer(
            settings,
            out,
            hardware=hardware,
            progress=how.progress,
            more=[*head_restarts(recipe), *together],
            skips_layers=skips_layers(module.network),
        )
        rank = trainer.global_rank
        loader = data.train_loader(
            batch_size=settings.batch_size, seed=settings.seed, hardware=hardware, rank=rank
        )
        if settings.bn_momentum is not None:
            auto = settings.bn_momentum == "auto"
            share = auto_momentum(len(loader)) if auto else float(settings.bn_momentum)
            set_momentum(module.network, share)
        fit_or_interrupt(
            trainer,
            module,
            loader,
            data.validation_loader(batch_size=batch, hardware=hardware, rank=rank),
            last=last if how.resume and last.exists() else None,
        )
    return trainer
