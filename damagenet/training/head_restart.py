"""The head of a network started anew every so many epochs (arXiv:2109.00267 compares with it)."""

import logging

import torch
from lightning import Callback, LightningModule, Trainer

from damagenet.recipe import Recipe
from damagenet.training.lightning_module import DamageModule
from models.factory import build_network
from models.reinit import HeadOnly, find_reinit

log = logging.getLogger(__name__)


class HeadRestart(Callback):
    """Draws the head anew before some epochs, and forgets what the optimiser knew of it."""

    def __init__(self, recipe: Recipe, every: int) -> None:
        self.recipe = recipe
        self.every = every

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the head anew if it is time; the draw depends on seed and epoch alone."""
        epoch = trainer.current_epoch
        if epoch == 0 or epoch % self.every:
            return
        assert isinstance(pl_module, DamageModule)
        network = pl_module.network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.training.seed * 100_003 + epoch)
            # A whole network, as initialisers may depend on all of it.
            fresh = build_network(self.recipe.model, pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1))
        network.head.load_state_dict(fresh.head.state_dict())
        for optimizer in trainer.optimizers:
            for parameter in network.head.parameters():
                optimizer.state.pop(parameter, None)
        log.info("the head starts anew in epoch %d", epoch + 1)


def head_restarts(recipe: Recipe) -> list[Callback]:
    """Return what starts the head anew, nothing where a recipe does not ask for it."""
    plan = find_reinit(recipe.training.reinit)
    return [HeadRestart(recipe, plan.every)] if isinstance(plan, HeadOnly) else []
