"""Lightning's trainer, set up for our recipes: checkpoints, resuming, logs and progress."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from damagenet.recipe import TrainingSettings
from data_prep.augmentation import Augmentation
from data_prep.datasets import Item

Average = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes the average so far, the current values and the number of steps; returns the average."""

BEST = "best"
LAST = "last"
LOGS = "logs"

LOGGERS = ("lightning.pytorch", "lightning.fabric")
ADVICE = (
    r".*does not have many workers.*",
    r".*The number of training batches.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*Precision .* is not supported by the model summary.*",
    r".*Found \d+ module\(s\) in eval mode.*",
    r".*recommended to use .*sync_dist=True.*",
)
"""What Lightning advises about settings that are as we want them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """On how many devices and machines a training runs."""

    devices: int = 1
    nodes: int = 1

    @property
    def processes(self) -> int:
        """Number of processes that share the work."""
        return self.devices * self.nodes


class StepSeed(Callback):
    """Seeds every step by itself, so that a continued training repeats an uninterrupted one.

    Augmentation is seeded by the epoch, as its batches are drawn ahead of their steps; what the
    network draws (dropout) by the step, as Lightning draws from the same numbers between epochs.
    """

    def __init__(self, seed: int, augmentation: Augmentation) -> None:
        self.seed = seed
        self.augmentation = augmentation

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the random numbers of the augmentation anew."""
        del pl_module
        self.augmentation.reseed(self._seed_of(trainer, trainer.current_epoch))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Start the random numbers of the network anew."""
        del pl_module, batch, batch_idx
        torch.manual_seed(self._seed_of(trainer, trainer.global_step))

    def _seed_of(self, trainer: Trainer, number: int) -> int:
        return (self.seed * 100_003 + number * 1_009 + trainer.global_rank) % 2**32


def make_trainer(
    settings: TrainingSettings,
    out: Path,
    *,
    augmentation: Augmentation,
    hardware: Hardware,
    progress: bool,
    skips_layers: bool = False,
    more: Sequence[Callback] = (),
) -> Trainer:
    """Return a trainer that keeps its checkpoints and logs in `out`.

    Args:
        settings: How to train.
        out: Gets `best.ckpt`, `last.ckpt` and `logs/`.
        augmentation: Seeded anew each epoch.
        hardware: Devices and machines.
        progress: Whether a bar is drawn on stderr.
        skips_layers: Whether layers may go without a gradient, for which processes that train
            together must not wait.
        more: What else takes part in the training.
    """
    together = "ddp_find_unused_parameters_true" if skips_layers else "ddp"
    return Trainer(
        max_epochs=settings.epochs,
        precision=settings.precision,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=together if hardware.processes > 1 else "auto",
        # Some backbones pool in a way that has no repeatable kernel on a GPU: they warn.
        deterministic="warn" if torch.cuda.is_available() else False,
        logger=[
            CSVLogger(out / LOGS, name="csv"),
            TensorBoardLogger(out / LOGS, name="tensorboard"),
        ],
        callbacks=[*more, *_callbacks(settings, out, augmentation, progress=progress)],
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )


def _callbacks(
    settings: TrainingSettings, out: Path, augmentation: Augmentation, *, progress: bool
) -> list[Callback]:
    watched = f"validation/{settings.select_on}"
    mode = "min" if settings.select_on == "loss" else "max"
    # In this order: what a training continues from knows of the best epoch so far.
    checkpoints = [
        ModelCheckpoint(
            dirpath=out, filename=BEST, monitor=watched, mode=mode, enable_version_counter=False
        ),
        ModelCheckpoint(dirpath=out, filename=LAST, enable_version_counter=False),
    ]
    callbacks: list[Callback] = [StepSeed(settings.seed, augmentation)]
    if settings.average_weights:
        callbacks.append(WeightAveraging(avg_fn=_moving_average(settings.average_weights)))
    if settings.early_stopping.patience:
        patience = settings.early_stopping.patience
        callbacks.append(EarlyStopping(watched, patience=patience, mode=mode))
    if progress:
        callbacks.append(RichProgressBar(leave=False, console_kwargs={"stderr": True}))
    return [*callbacks, *checkpoints]


def _moving_average(decay: float) -> Average:
    """Return the exponential moving average, faster at the start to forget the first weights."""

    def average(averaged: torch.Tensor, current: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        now = min(decay, (1 + int(step)) / (10 + int(step)))
        # Written as a step towards the current value, constants stay to the last bit.
        return averaged + (1 - now) * (current - averaged)

    return average


@contextmanager
def without_advice() -> Iterator[None]:
    """Silence Lightning's advertisements and advice; its warnings of real trouble stay."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def fit_or_interrupt(
    trainer: Trainer,
    module: LightningModule,
    training: DataLoader[Item],
    validation: DataLoader[Item],
    *,
    last: Path | None,
) -> None:
    """Fit a module, from the checkpoint `last` where one is given.

    Raises:
        KeyboardInterrupt: If somebody pressed Ctrl-C, which Lightning would turn into an exit.
    """
    try:
        # Of a checkpoint only tensors and plain values are read, never code.
        trainer.fit(module, training, validation, ckpt_path=last, weights_only=True)
    except SystemExit as err:
        raise KeyboardInterrupt from err
