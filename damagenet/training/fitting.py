"""Fitting one module on the tiles of a recipe: trainer, loaders, and where it continues."""

from dataclasses import dataclass
from pathlib import Path

from lightning import Trainer

from damagenet.devices import best_batch, resolve_device
from damagenet.recipe import Recipe
from damagenet.training.data import TrainingData
from damagenet.training.head_restart import head_restarts
from damagenet.training.lightning_module import DamageModule
from damagenet.training.trainer import (
    LAST,
    Hardware,
    fit_or_interrupt,
    make_trainer,
    without_advice,
)
from models.batch_norms import auto_momentum, set_momentum
from models.stochastic_depth import skips_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How modules are fitted.

    Attributes:
        hardware: Devices and machines.
        resume: Continue from the last checkpoint in a folder.
        progress: Whether a bar is drawn on stderr.
    """

    hardware: Hardware
    resume: bool
    progress: bool


def fit(
    recipe: Recipe, out: Path, data: TrainingData, module: DamageModule, how: Fitting
) -> Trainer:
    """Train the module's network in place; checkpoints and logs lie in `out`."""
    settings = recipe.training
    last = out / f"{LAST}.ckpt"
    with without_advice():
        trainer = make_trainer(
            settings,
            out,
            augmentation=data.augmentation,
            hardware=how.hardware,
            progress=how.progress,
            more=head_restarts(recipe),
            skips_layers=skips_layers(module.network),
        )
        loader = data.train_loader(
            batch_size=settings.batch_size, seed=settings.seed, processes=how.hardware.processes
        )
        if settings.bn_momentum is not None:
            auto = settings.bn_momentum == "auto"
            share = auto_momentum(len(loader)) if auto else float(settings.bn_momentum)
            set_momentum(module.network, share)
        fit_or_interrupt(
            trainer,
            module,
            loader,
            data.validation_loader(batch_size=best_batch(resolve_device("auto"))),
            last=last if how.resume and last.exists() else None,
        )
    return trainer
