"""One training step, one validation step, and what is logged about them."""

import logging
import time
from collections.abc import Sequence

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, MulticlassAccuracy

from damagenet.recipe import TrainingSettings
from damagenet.training.losses import Outcome, build_loss
from models.activations import penalty
from models.classifier import Classifier
from models.optimisers import build_optimizer, train_beside
from models.schedules import build_schedule
from models.stages import freeze

log = logging.getLogger(__name__)

Batch = tuple[Sequence[torch.Tensor], torch.Tensor]
"""Images uint8 (N, 3, S, S), one tensor for each input, and labels float (N,)."""
PROCESSOR_S = "processor_s"
"""Logged after each epoch: processor time of this process so far, of all its threads."""


class DamageModule(LightningModule):
    """Trains a network with the loss, optimiser and schedule of a recipe."""

    def __init__(self, network: Classifier, settings: TrainingSettings) -> None:
        """Take what is trained, and freeze in it what stays.

        Raises:
            ConfigError: If more stages shall be frozen than there are.
        """
        super().__init__()
        self.network = network
        self.settings = settings
        self.loss = build_loss(settings.loss)(network)
        self.train_loss = MeanMetric()
        self.validation_loss = MeanMetric()
        self.validation_scores = _validation_scores()
        self.resting = freeze(network, settings.freeze_stages)
        if settings.transfer == "linear_probe":
            network.features.requires_grad_(False)
            self.resting = [network.features]

    def on_train_epoch_start(self) -> None:
        """Keep the batch norms and dropout of what is frozen at rest."""
        for module in self.resting:
            module.eval()

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """Return the mean loss of a batch, and what activations add to it."""
        del batch_index
        images, labels = batch
        loss = self.loss(self._outcome(images), labels)
        self.train_loss.update(loss.detach(), weight=len(labels))
        extra = penalty(self.network)
        return loss if extra is None else loss + extra

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean training loss."""
        self.log("train/loss", self.train_loss)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add a batch to the validation scores."""
        del batch_index
        images, labels = batch
        outcome = self._outcome(images)
        self.validation_loss.update(self.loss(outcome, labels), weight=len(labels))
        _update(self.validation_scores, outcome.logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Log the validation scores, and say them in one line."""
        scores = {name: metric.compute() for name, metric in self.validation_scores.items()}
        scores["loss"] = self.validation_loss.compute()
        self.log_dict({f"validation/{name}": value for name, value in scores.items()})
        self.log(PROCESSOR_S, time.process_time())
        if self.trainer.is_global_zero and not self.trainer.sanity_checking:
            said = ", ".join(f"{name} {float(value):.4f}" for name, value in scores.items())
            log.info("epoch %d of %d: %s", self.current_epoch + 1, self.settings.epochs, said)
        self.validation_scores.reset()
        self.validation_loss.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser and a schedule that steps once per batch."""
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer = build_optimizer(
            self.settings.optimizer,
            self.network,
            activation_lr=self.settings.activation_lr,
            layer_decay=self.settings.layer_decay,
            steps=steps,
        )
        if isinstance(self.loss, nn.Module):
            train_beside(optimizer, self.loss)
        schedule = build_schedule(self.settings.schedule, optimizer, steps=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _outcome(self, images: Sequence[torch.Tensor]) -> Outcome:
        features = self.network.embed(*images)
        logits = self.network.head(features).squeeze(1).float()
        return Outcome(images=images, features=features, logits=logits)


def _validation_scores() -> MetricCollection:
    scores: dict[str, Metric | MetricCollection] = {
        "accuracy": BinaryAccuracy(),
        "balanced_accuracy": MulticlassAccuracy(num_classes=2, average="macro"),
        "auroc": BinaryAUROC(),
    }
    return MetricCollection(scores)


def _update(scores: MetricCollection, logits: torch.Tensor, labels: torch.Tensor) -> None:
    # Verdicts, as a batch of logits that all lie within 0..1 would be taken for probabilities.
    truth, verdicts = labels.int(), (logits > 0).int()
    scores["accuracy"].update(verdicts, truth)
    scores["balanced_accuracy"].update(verdicts, truth)
    scores["auroc"].update(logits.sigmoid(), truth)


def network_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the network's part of a checkpoint's `state_dict`."""
    prefix = "network."
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
