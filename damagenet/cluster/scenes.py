"""The scenes of a run on a cluster: planned and written here, their pieces made by workers."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import ceil

import ray

from damagenet.assessment import Assessment
from damagenet.bundle import Bundle
from damagenet.cluster.connection import count_slots
from damagenet.cluster.pool import CALLS_EACH, Lost, Pool
from damagenet.cluster.worker import SeenFile, Share, Worker, cut_of
from damagenet.engine.assess import stop_if_asked, underway_maker
from damagenet.engine.inputs import Inputs
from damagenet.engine.run_record import versions
from damagenet.engine.runner import Runner, make_predictor
from damagenet.engine.underway import Underway
from damagenet.errors import CancelledError, ConfigError, DamageNetError, UnreachableError
from damagenet.inference import Predictor

logger = logging.getLogger(__name__)

MOST_PIECES = 4
"""Pieces in a share, at most: neighbours have blocks of the file in common."""

Parts = list[bytes] | DamageNetError
"""What a worker answers: the parts of a share, or what is wrong with the scene."""


@dataclass(slots=True, kw_only=True)
class OpenScene:
    """A scene whose parts are being made.

    Attributes:
        underway: Its assessment.
        opened: Closes it, and is told what is wrong with it.
        unsent: Its pieces that no worker was asked for yet, in shares.
        missing: Number of parts that are still to come.
        file: The scene's file.
        pre: The file of the picture before.
    """

    underway: Underway
    opened: ExitStack
    unsent: deque[tuple[int, ...]]
    missing: int
    file: SeenFile
    pre: SeenFile | None

    def share(self, number: int) -> Share:
        """Return the next share of the scene, which is this number of the run."""
        pieces = self.unsent.popleft()
        return Share(
            number=number,
            pieces=pieces,
            cut=cut_of(self.underway.placed, pieces),
            scene=self.file,
            pre=self.pre,
            shift=self.underway.seen.pictures.shift,
            acquired=self.underway.acquired,
            correction=self.underway.correction,
        )


class ScenesOnCluster:
    """Assesses the scenes of a run, several at a time where they are small.

    Args:
        runner: The run.
        bundle: The model, which workers get from here.
        device: Where it runs: `cpu` or `cuda`.
    """

    def __init__(self, runner: Runner, bundle: Bundle, *, device: str) -> None:
        self._runner, self._bundle, self._device = runner, bundle, device
        self._waiting = deque(range(1, len(runner.scenes) + 1))
        self._open: dict[int, OpenScene] = {}
        self._began: dict[int, float] = {}
        self._done: dict[int, Assessment] = {}
        self._unlike: set[str] = set()
        self._here: Predictor | None = None

    def assess(self) -> list[Assessment]:
        """Assess all scenes; return those that succeeded, in order.

        Raises:
            ConfigError: If the workers cannot be used, or the options fit no scene.
            CancelledError: If the run was cancelled; the same run goes on.
        """
        try:
            with self._pool() as pool:
                while self._submit(pool):
                    pool.grow(count_slots(self._device))  # nodes may join
                    for share, answer in pool.answers():
                        self._take(share, answer)
                    self._stop_if_asked()
        finally:
            self._leave_open_scenes()
        return [self._done[number] for number in sorted(self._done)]

    def _pool(self) -> Pool[Share, Parts]:
        gpus = 1 if self._device == "cuda" else 0
        kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(Worker)
        # Put there once; every worker takes them from the store of its node.
        bundle, inputs = ray.put(self._bundle), ray.put(_everywhere(self._runner.inputs))
        return Pool(
            size=count_slots(self._device),
            start=lambda: kind.remote(bundle, self._runner.options, inputs, self._device),
            ready=lambda worker: worker.ready.remote(),
            check=self._check_worker,
            ask=lambda worker, share: worker.parts.remote(share),
        )

    def _predictor(self) -> Predictor:
        """Return what asks the model here, where there may be no GPU."""
        if self._here is None:
            self._here = make_predictor(self._bundle, self._runner.options, device="cpu")
        return self._here

    def _check_worker(self, answer: dict[str, str] | DamageNetError) -> None:
        """Refuse a worker of another damagenet, and say where another library may matter."""
        if isinstance(answer, DamageNetError):
            raise type(answer)(f"a worker of the Ray cluster cannot start: {answer}")
        here = versions()
        unlike = [f"{name} {answer[name]}" for name in here if answer.get(name) != here[name]]
        if answer["damagenet"] != here["damagenet"]:
            raise ConfigError(
                f"{answer['machine']} has damagenet {answer['damagenet']}, this machine "
                f"{here['damagenet']}: install one version on every machine of the cluster"
            )
        if unlike and answer["machine"] not in self._unlike:
            self._unlike.add(answer["machine"])
            logger.warning(
                "%s has %s, unlike this machine: probabilities may differ by 1e-5",
                answer["machine"],
                ", ".join(unlike),
            )

    def _submit(self, pool: Pool[Share, Parts]) -> bool:
        """Give the workers as much as they hold; return whether anything is left to wait for."""
        while pool.has_room:
            number = next((n for n, scene in self._open.items() if scene.unsent), None)
            if number is not None:
                pool.submit(self._open[number].share(number))
            elif self._waiting:
                self._begin(self._waiting.popleft(), pool.size * CALLS_EACH)
            else:
                break
        return bool(self._open or self._waiting)

    def _begin(self, number: int, calls: int) -> None:
        """Open a scene, and cut its missing pieces into shares for so many calls or more."""
        self._began[number] = time.perf_counter()
        with self._failures_of(number):
            with ExitStack() as opening:
                underway = opening.enter_context(self._runner.begun(number))
                if underway.options.stride is not None and underway.known is None:
                    # Measured once, so that all workers look in the same way.
                    underway_maker(underway, self._predictor(), self._runner.inputs)
                missing, pre = underway.missing, underway.seen.pre
                each = min(MOST_PIECES, max(1, ceil(len(missing) / calls)))
                shares = (missing[start : start + each] for start in range(0, len(missing), each))
                self._open[number] = OpenScene(
                    underway=underway,
                    unsent=deque(shares),
                    missing=len(missing),
                    file=SeenFile.of(underway.scene.path),
                    pre=None if pre is None else SeenFile.of(pre.path),
                    opened=opening.pop_all(),
                )
            if not missing:
                self._finish(number)

    def _take(self, share: Share, answer: Parts | Lost) -> None:
        """Keep the parts of a share, and end its scene with the last of them."""
        scene = self._open.get(share.number)
        if scene is None:
            return  # it has failed meanwhile
        with self._failures_of(share.number):
            for number, part in zip(share.pieces, _parts(share, answer, scene), strict=True):
                scene.underway.keep(number, part)
                scene.missing -= 1
            if not scene.missing:
                self._finish(share.number)

    def _finish(self, number: int) -> None:
        scene = self._open[number]
        assessment = self._runner.finish(scene.underway)
        self._open.pop(number).opened.close()
        self._runner.succeeded(number, assessment, self._seconds(number))
        self._done[number] = assessment

    @contextmanager
    def _failures_of(self, number: int) -> Iterator[None]:
        """Let what is wrong with a scene be the failure of that scene alone."""
        try:
            yield
        except DamageNetError as raised:
            err = self._closed(number, raised)
            if isinstance(err, CancelledError | ConfigError):
                # The one is no failure; the other would befall every scene alike.
                raise err from raised
            self._runner.failed(number, err, self._seconds(number))
            if self._runner.options.on_error == "fail":
                self._waiting.clear()
                self._leave_open_scenes()

    def _closed(self, number: int, err: DamageNetError) -> DamageNetError:
        """Close a scene and let it know why; return what is wrong in the end."""
        scene = self._open.pop(number, None)
        if scene is None:
            return err
        try:
            with scene.opened:
                raise err
        except DamageNetError as last:
            return last

    def _leave_open_scenes(self) -> None:
        """Close the scenes that are not finished; their parts stay for the next run."""
        while self._open:
            self._open.popitem()[1].opened.close()

    def _stop_if_asked(self) -> None:
        for scene in self._open.values():
            stop_if_asked(scene.underway.scene.path, self._runner.cancelled)
            return

    def _seconds(self, number: int) -> float:
        return time.perf_counter() - self._began[number]


def _parts(share: Share, answer: Parts | Lost, scene: OpenScene) -> list[bytes]:
    """Return the parts that were answered, or raise what is wrong, in the caller's words."""
    if isinstance(answer, Lost):
        first, last = share.pieces[0], share.pieces[-1]
        raise UnreachableError(
            f"{scene.underway.scene.path}: the workers that judged pieces {first} to {last} were "
            f"lost one after the other ({answer.reason}): look for a lack of memory on the nodes, "
            "then run the same again"
        )
    if isinstance(answer, DamageNetError):
        # Workers know files by their absolute paths.
        named = str(answer).replace(str(share.scene.path), str(scene.underway.scene.path))
        raise type(answer)(named)
    return answer


def _everywhere(inputs: Inputs) -> Inputs:
    """Return the inputs with paths that mean the same from any folder."""
    if inputs.exclusion is None:
        return inputs
    path = inputs.exclusion.path.absolute()
    return replace(inputs, exclusion=replace(inputs.exclusion, path=path))
