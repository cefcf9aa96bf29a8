"""One run of a study: train, score the test part, and tell it as a row."""

import datetime as dt
import hashlib
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from damagenet import __version__
from damagenet.bundle import Bundle
from damagenet.errors import EvaluationError
from damagenet.evaluation.metrics import make_sample, measure
from damagenet.evaluation.protocols import split_of
from damagenet.evaluation.tile_scores import tile_probabilities
from damagenet.inference import Predictor
from damagenet.recipe import Recipe
from damagenet.study.logs import read_log
from damagenet.study.machine import hardware_in_words, peak_mb, saved_mb
from damagenet.study.plan import Run, epochs_in_all, recipe_of, run_key, step_count, tuning_runs
from damagenet.study.rows import Row
from damagenet.study.settings import StudySettings
from damagenet.training.train import train
from data_prep.datasets import tile_tensor
from data_prep.harvey import HarveyTiles
from data_prep.splits import Split
from models.activations.fused import kernels_without_gradients

SCORES = ("accuracy", "balanced_accuracy", "auroc", "brier", "calibration_error")
LONGEST_REASON = 200
"""Letters of a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run, and all that a process needs to do it.

    Attributes:
        settings: The study.
        run: Which run of it.
        work: Folder for weights and logs of this run alone; deleted at the end.
        threads: Threads of torch; None leaves torch's own choice.
        command: Written into the card of the trained network.
    """

    settings: StudySettings
    run: Run
    work: Path
    threads: int | None = None
    command: str = ""

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return recipe_of(self.settings, self.run)

    @property
    def key(self) -> str:
        """The key of the run."""
        return run_key(self.settings, self.run)


def execute(task: Task) -> Row:
    """Do one run and return its row; one that diverges is a row too, with the reason.

    Raises:
        DamageNetError: If data, settings or disk are at fault, not the run: it can be repeated.
    """
    if task.threads:
        torch.set_num_threads(task.threads)
    started = time.perf_counter()
    tiles = HarveyTiles.open(task.recipe.data.path)
    split = split_of(task.recipe, tiles)
    found: dict[str, object]
    try:
        found = {"status": "ok", **_measure(task, tiles, split)}
    except (EvaluationError, ArithmeticError) as err:
        found = {"status": "failed", "reason": _one_line(err)}
    finally:
        shutil.rmtree(task.work, ignore_errors=True)
    seconds = time.perf_counter() - started
    return Row.model_validate({**_told(task, tiles, split), **found, "seconds": seconds})


def _measure(task: Task, tiles: HarveyTiles, split: Split) -> dict[str, object]:
    """Return the columns of a row that only a whole run can fill."""
    settings = task.recipe.training
    bundle = train(
        task.recipe,
        task.work,
        tiles=tiles,
        resume=False,
        command=task.command,
        progress=False,
    )
    peak = peak_mb()  # before the test part is read, which is more than training reads
    log = read_log(task.work, settings.select_on)
    epoch, validation = log.best(lowest=settings.select_on == "loss")
    batch = tile_tensor(tiles, split.train[: settings.batch_size])
    return {
        "best_epoch": epoch,
        "validation": validation,
        "seconds_per_epoch": log.seconds_per_epoch(of_processor=not torch.cuda.is_available()),
        "peak_mb": peak,
        "saved_mb": saved_mb(bundle.network, batch, precision=settings.precision),
        "parameters": sum(parameter.numel() for parameter in bundle.network.parameters()),
        **_test_scores(bundle, tiles, split),
    }


def _test_scores(bundle: Bundle, tiles: HarveyTiles, split: Split) -> dict[str, float | None]:
    with kernels_without_gradients():
        p = tile_probabilities(Predictor(bundle), tiles, split.test)
    sample = make_sample(p, tiles.labels[split.test], flagged=p >= bundle.card.threshold)
    return {name: measure(sample, name) for name in SCORES}


def _told(task: Task, tiles: HarveyTiles, split: Split) -> dict[str, object]:
    """Return the columns of a row that are known without a training."""
    run, training = task.run, task.recipe.training
    return {
        "key": task.key,
        "variant": run.variant.label,
        "settings": run.variant.told,
        "split": run.split,
        "seed": run.seed,
        "lr": run.lr,
        "stage": "lr" if run in tuning_runs(task.settings, run.variant) else "study",
        "select_on": training.select_on,
        "epochs": epochs_in_all(training),
        "tiles": len(split.train),
        "steps": step_count(training, len(split.train)),
        "threads": torch.get_num_threads(),
        "hardware": hardware_in_words(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "damagenet": __version__,
        "torch": version("torch"),
        "data": data_fingerprint(tiles),
    }


def data_fingerprint(tiles: HarveyTiles) -> str:
    """Return a hash over all tiles, however they were packed, 12 hexadecimal digits."""
    columns = ["sha256", "label", "published_split", "lon", "lat"]
    lines = sorted(" ".join(map(str, row)) for row in tiles.manifest[columns].to_numpy())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _one_line(err: Exception) -> str:
    return f"{type(err).__name__}: {' '.join(str(err).split())}"[:LONGEST_REASON]
