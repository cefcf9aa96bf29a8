"""Lightning's trainer, set up for our recipes: checkpoints, resuming, logs and progress."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from damagenet.recipe import TrainingSettings
from damagenet.training.hardware import Hardware
from damagenet.training.processes import ending_together
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


class StepSeed(Callback):
    """Seeds every step by itself, so that a continued training repeats an uninterrupted one.

    What the network draws (dropout) is seeded, as Lightning draws from the same numbers between
    epochs. Processes that train together draw the same: what rests by chance in a whole batch
    rests in all of them, and dropout draws for the whole batch (`models.shared_batch`).
    """

    def __init__(self, seed: int) -> None:
        """Take the seed of the training."""
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Start the random numbers of the network anew."""
        del pl_module, batch, batch_idx
        torch.manual_seed((self.seed * 100_003 + trainer.global_step * 1_009) % 2**32)


class Stopping(EarlyStopping):
    """Early stopping that stays stopped: a training cut after it and resumed trains no further.

    Lightning remembers that it stopped, and in which epoch, but asks again after an epoch only.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before the first step if the training was over when it was cut."""
        super().on_train_start(trainer, pl_module)
        # A score that is not finite stops as well, however long patience would have waited.
        if self.wait_count >= self.patience or self.stopped_epoch > 0:
            trainer.should_stop = True


def make_trainer(
    settings: TrainingSettings,
    out: Path,
    *,
    hardware: Hardware,
    progress: bool,
    skips_layers: bool = False,
    more: Sequence[Callback] = (),
) -> Trainer:
    """Return a trainer that keeps its checkpoints and logs in `out`.

    Args:
        settings: How to train.
        out: Gets `best.ckpt`, `last.ckpt` and `logs/`.
        hardware: Devices and machines.
        progress: Whether a bar is drawn on stderr.
        skips_layers: Whether layers may go without a gradient, for which processes that train
            together must not wait.
        more: What else takes part in the training.
    """
    # Buffers stay equal by themselves, see `models.shared_batch`.
    together = DDPStrategy(find_unused_parameters=skips_layers, forward_sync_buffers=False)
    return Trainer(
        max_epochs=settings.epochs,
        precision=settings.precision,
        accelerator="cuda" if hardware.on_gpu else "cpu",
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=together if hardware.processes > 1 else "auto",
        use_distributed_sampler=False,
        # Some backbones pool in a way that has no repeatable kernel on a GPU: they warn.
        deterministic="warn" if hardware.on_gpu else False,
        logger=[
            CSVLogger(out / LOGS, name="csv"),
            TensorBoardLogger(out / LOGS, name="tensorboard"),
        ],
        callbacks=[
            StepSeed(settings.seed),
            *more,
            *_callbacks(settings, out, progress=progress),
        ],
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )


def _callbacks(settings: TrainingSettings, out: Path, *, progress: bool) -> list[Callback]:
    watched = f"validation/{settings.select_on}"
    mode = "min" if settings.select_on == "loss" else "max"
    # In this order: what a training continues from knows of the best epoch so far.
    checkpoints = [
        ModelCheckpoint(
            dirpath=out, filename=BEST, monitor=watched, mode=mode, enable_version_counter=False
        ),
        ModelCheckpoint(dirpath=out, filename=LAST, enable_version_counter=False),
    ]
    callbacks: list[Callback] = []
    if settings.average_weights:
        callbacks.append(WeightAveraging(avg_fn=_moving_average(settings.average_weights)))
    if settings.early_stopping.patience:
        patience = settings.early_stopping.patience
        callbacks.append(Stopping(watched, patience=patience, mode=mode))
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
    with ending_together(trainer):
        try:
            # Of a checkpoint only tensors and plain values are read, never code.
            trainer.fit(module, training, validation, ckpt_path=last, weights_only=True)
        except SystemExit as err:
            raise KeyboardInterrupt from err
