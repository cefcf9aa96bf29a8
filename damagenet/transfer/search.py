"""One network by one protocol: every point of the grid, the best on validation, its test score."""

import datetime as dt
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damagenet.bundle import Bundle
from damagenet.errors import ConfigError, DataError, EvaluationError
from damagenet.evaluation.protocols import training_key
from damagenet.recipe import ModelSettings, Recipe
from damagenet.study.logs import read_log
from damagenet.training.checks import check_recipe
from damagenet.training.data import TrainingData, open_training_data, require_test_apart
from damagenet.training.head import SEARCHER
from damagenet.training.l2_search import L2_VALUES
from damagenet.training.probe import read_trials
from damagenet.training.train import train
from damagenet.training.trainer import BEST, LAST
from damagenet.transfer.grid import GRIDS, Point, spread
from damagenet.transfer.networks import imagenet_top1, require_unseen
from damagenet.transfer.outcome import Outcome, right_verdicts
from damagenet.transfer.rows import Row, add_rows, read_rows
from data_prep.harvey import HarveyTiles

log = logging.getLogger(__name__)

RUNS = "runs"
DIGITS = 12


def check_protocol(recipe: Recipe) -> None:
    """Check that a recipe can be searched, without reading data.

    Raises:
        ConfigError: If it cannot be trained, or a linear probe is not solved for on the grid.
        BundleError: If the weights to start from cannot be found.
    """
    training = recipe.training
    if training.transfer == "linear_probe" and training.optimizer.name != SEARCHER:
        raise ConfigError(
            f"training.optimizer is {training.optimizer.name!r} but training.transfer is "
            f"linear_probe, whose grid of L2 strengths is solved for: set it to {SEARCHER}"
        )
    check_recipe(recipe)
    for point in GRIDS.get(training.transfer, ()):
        check_recipe(point.recipe(recipe))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """The search of one network.

    Attributes:
        recipe: Checked by `check_protocol`.
        data: Its tiles.
        out: Folder with `points.csv` and the trainings.
        points: How many points of the grid are tried, spread over it; None for all.
        command: Written into the cards.
    """

    recipe: Recipe
    data: TrainingData
    out: Path
    points: int | None
    command: str

    @property
    def group(self) -> str:
        """Hash over network, tiles and training, without the values of the grid."""
        return self._hash(self.recipe)

    @property
    def comparison(self) -> str:
        """Hash over tiles and training: networks with the same one may be compared."""
        return self._hash(self.recipe.model_copy(update={"model": ModelSettings()}))

    @property
    def folder(self) -> Path:
        """Where the trainings lie."""
        return self.out / RUNS / self.group

    @property
    def grid(self) -> tuple[Point, ...]:
        """All points of the protocol; none where they are solved for together."""
        return GRIDS.get(self.recipe.training.transfer, ())

    def row(self, **found: object) -> Row:
        """Return a row of this search."""
        return Row.model_validate(
            {
                "group": self.group,
                "protocol": self.recipe.training.transfer,
                "split": self.data.split.name,
                "network": network_name(self.recipe.model),
                "select_on": self.recipe.training.select_on,
                "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                **found,
            }
        )

    def _hash(self, recipe: Recipe) -> str:
        whole = self.grid[0].recipe(recipe) if self.grid else recipe
        return training_key(whole, self.data.tiles, self.data.split)[:DIGITS]


def network_name(model: ModelSettings) -> str:
    """Return what a network is called: the bundle it starts from, or its architecture."""
    return model.source_bundle or model.architecture.name


def open_search(
    recipe: Recipe,
    out: Path,
    tiles: HarveyTiles | None = None,
    *,
    points: int | None = None,
    command: str = "",
) -> Search:
    """Return a search whose data was looked at, with what would spoil it refused.

    Raises:
        DataError: If the data set is missing, or a part of the split lacks a class.
        LeakError: If training or validation shares ground with the test, or the weights to start
            from have seen it, and the recipe does not allow it.
    """
    data = open_training_data(recipe, tiles)
    if len(np.unique(data.tiles.labels[data.split.test])) < 2:
        raise DataError(
            f"the test part of split {data.split.name!r} lacks a class: choose another split"
        )
    allow_leak = recipe.data.allow_leak
    require_test_apart(data, allow_leak=allow_leak)
    require_unseen(recipe.model, data, allow_leak=allow_leak)
    return Search(recipe=recipe, data=data, out=out, points=points, command=command)


def run_search(search: Search) -> Outcome:
    """Try the points that have no row yet, and score the best of all on the test.

    Raises:
        EvaluationError: If every training of the grid diverged.
        DamageNetError: As `damagenet.training.train.train` does.
    """
    return _probe(search) if not search.grid else _try_points(search)


def _probe(search: Search) -> Outcome:
    folder, started = search.folder / "probe", time.perf_counter()
    bundle = _train(search, search.recipe, folder)
    select_on = search.recipe.training.select_on
    seconds = time.perf_counter() - started
    rows = [
        search.row(
            l2=trial.l2,
            score=getattr(trial, select_on),
            converged=trial.converged,
            seconds=round(seconds / len(L2_VALUES), 2),
        )
        for trial in read_trials(folder)
    ]
    if not _rows(search):
        add_rows(search.out, rows)
    return _outcome(search, rows, bundle)


def _try_points(search: Search) -> Outcome:
    recipe = search.recipe
    done = {row.point for row in _rows(search)}
    chosen = spread(search.grid, search.points)
    left = [point for point in chosen if (search.group, point.lr, point.decay, None) not in done]
    log.info(
        "%s, %s: %d points to try of the %d in the grid, each %d steps of %d tiles (the paper: "
        "20,000 of 256)",
        *(network_name(recipe.model), recipe.training.transfer, len(left), len(search.grid)),
        *(_steps(search), _batch(search)),
    )
    for point in left:
        add_rows(search.out, [_try_point(search, point)])
    rows = _rows(search)
    best = _best(rows)
    point = next(each for each in search.grid if (each.lr, each.decay) == (best.lr, best.decay))
    home = _home(search, point)
    for folder in search.folder.iterdir():
        if folder != home:
            shutil.rmtree(folder)
    return _outcome(search, rows, _train(search, point.recipe(recipe), home))


def _try_point(search: Search, point: Point) -> Row:
    """Train one point and return its row; one that diverges is a row too, with the reason."""
    home, started = _home(search, point), time.perf_counter()
    select_on = search.recipe.training.select_on
    found: dict[str, object]
    try:
        _train(search, point.recipe(search.recipe), home)
        _, score = read_log(home, select_on).best(lowest=select_on == "loss")
        found = {"score": score}
    except (EvaluationError, ArithmeticError) as err:
        found = {"status": "failed", "reason": " ".join(str(err).split())[:200]}
    for name in (BEST, LAST):
        (home / f"{name}.ckpt").unlink(missing_ok=True)
    row = search.row(
        lr=point.lr,
        decay=point.decay,
        steps=_steps(search),
        seconds=round(time.perf_counter() - started, 1),
        **found,
    )
    log.info("lr %.3g, decay %.3g: %s %s", point.lr, point.decay, select_on, row.score)
    return row


def _best(rows: list[Row]) -> Row:
    """Return the row with the best score; of equal ones the first in the order of the grid."""
    scored = [row for row in rows if row.score is not None]
    if not scored:
        reasons = "; ".join(dict.fromkeys(row.reason for row in rows))
        raise EvaluationError(f"every training of the grid diverged: {reasons}")
    sign = -1 if scored[0].select_on == "loss" else 1
    # Of equal strengths of L2 the strongest is taken, as the search itself does.
    return max(scored, key=lambda row: (sign * (row.score or 0.0), row.l2 or 0.0))


def _outcome(search: Search, rows: list[Row], bundle: Bundle) -> Outcome:
    recipe, data, best = search.recipe, search.data, _best(rows)
    correct, balanced = right_verdicts(bundle, data.tiles, data.split.test)
    return Outcome(
        comparison=search.comparison,
        protocol=recipe.training.transfer,
        split=data.split.name,
        tiles=len(data.split.train),
        network=network_name(recipe.model),
        weights=recipe.model.weights,
        lr=best.lr,
        decay=best.decay,
        l2=best.l2,
        points=len(rows),
        of_points=len(search.grid) or len(L2_VALUES),
        not_converged=sum(row.converged is False for row in rows),
        steps=best.steps,
        batch_size=_batch(search) if search.grid else None,
        select_on=best.select_on,
        validation=best.score or 0.0,
        n=len(data.split.test),
        correct=correct,
        balanced_accuracy=balanced,
        imagenet_top1=imagenet_top1(recipe.model),
        bundle=str(bundle.folder),
    )


def _rows(search: Search) -> list[Row]:
    return [row for row in read_rows(search.out) if row.group == search.group]


def _home(search: Search, point: Point) -> Path:
    return search.folder / f"point{search.grid.index(point):02d}"


def _batch(search: Search) -> int:
    return min(search.recipe.training.batch_size, len(search.data.split.train))


def _steps(search: Search) -> int:
    return search.recipe.training.epochs * (len(search.data.split.train) // _batch(search))


def _train(search: Search, recipe: Recipe, folder: Path) -> Bundle:
    return train(recipe, folder, tiles=search.data.tiles, command=search.command, progress=False)
