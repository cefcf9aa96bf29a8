"""Ours against other ways to judge the same scene by the same network.

    python benchmarks/contest.py --contenders torchgeo,rastervision --envs DIR [--runs 7]

Fills a scene of 6144 x 6144 px with the filled blocks of a real one: 2,304 chips of 128 px, all of
them judged by all. Every contender has a process of its own, in an environment of its own that is
made in DIR, and loads the same network: batch norms folded, channels last, as TorchScript. Before
the clock starts, its probabilities are compared with ours, chip by chip. Then all judge the scene
in turns. Ours goes from the GeoTIFF to a written GeoPackage and COG; the others end with numbers
in memory.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from contenders.asked import Asked, ContenderFailedError
from contenders.environments import CONTENDERS, LOOP, Contender, EnvironmentFailedError, python_of
from contest_work import (
    chips_of,
    difference,
    save_network,
    written,
)
from side_by_side import ask_side_by_side
from smoke_scene import CHIP_PX, make_smoke_scene
from throughput import machine, make_bundle, make_filled_scene

from damagenet.bundle import load_bundle
from damagenet.inference import Predictor

OURS = "damagenet, written to gpkg and cog"
FORWARD = "forward only, chips in memory"
COMPACT, RESNET18 = NETWORKS = ("compact CNN", "ResNet-18")
Run = Callable[[], tuple[float, float]]
"""Judges the whole scene; returns seconds and processor seconds."""


@dataclass(kw_only=True)
class Row:
    """One pipeline with one network."""

    network: str
    pipeline: str
    chips_per_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    largest_difference: float | None = None
    """Of its probabilities to ours, over all chips."""


def clocked(work: Callable[[], int], chips: int) -> Run:
    """Return the work as a run; it must judge all chips."""

    def run() -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        judged = work()
        seconds, used = time.perf_counter() - wall, time.process_time() - processor
        if judged != chips:
            sys.exit(f"{judged} chips were judged, {chips} expected")
        return seconds, used

    return run


@dataclass(frozen=True, kw_only=True)
class Contest:
    """All pipelines with one network.

    Attributes:
        network: Its name in the table.
        predictor: Ours, with the network.
        scene: What is judged.
        chips: All of the scene's, uint8 (N, 3, 128, 128).
        folder: For files that do not stay.
    """

    network: str
    predictor: Predictor
    scene: Path
    chips: np.ndarray
    folder: Path

    def hold(
        self, entries: list[tuple[Contender, Path]], *, runs: int
    ) -> tuple[list[Row], list[str]]:
        """Return the rows of all that took part, and what must be said of the others."""
        with ExitStack() as stack:
            asked, notes = self._enter(stack, entries)
            turns = [*self._ours(), *asked]
            for _, run in turns:
                run()  # uncounted: files come into the cache, threads into being
            for number in range(runs):
                print(f"{self.network}, run {number + 1} of {runs}", file=sys.stderr)
                for row, run in turns:
                    seconds, used = run()
                    row.chips_per_s.append(round(len(self.chips) / seconds, 1))
                    row.processor_s.append(round(used, 2))
        return [row for row, _ in turns], notes

    def _ours(self) -> list[tuple[Row, Run]]:
        works = {
            FORWARD: lambda: len(ask_side_by_side(self.predictor, (self.chips,))),
            OURS: lambda: written(self.predictor, self.scene, self.folder),
        }
        return [
            (Row(network=self.network, pipeline=name), clocked(work, len(self.chips)))
            for name, work in works.items()
        ]

    def _enter(
        self, stack: ExitStack, entries: list[tuple[Contender, Path]]
    ) -> tuple[list[tuple[Row, Run]], list[str]]:
        """Start all contenders and compare their probabilities with ours; return their turns."""
        script = self.folder / f"{self.network}.ts"
        save_network(self.predictor, script)
        given = {
            "scene": self.scene,
            "network": script,
            "batch-size": self.predictor.batch_size,
            "chip": CHIP_PX,
        }
        turns, notes = [], []
        each_with_workers = [
            (contender, python, workers)
            for contender, python in entries
            for workers in contender.workers
        ]
        for contender, python, workers in each_with_workers:
            try:
                asked = stack.enter_context(Asked(contender, python, given, workers=workers))
                apart = difference(asked, self.predictor, self.chips)
            except ContenderFailedError as err:
                notes.append(f"{contender.name}, {workers} workers, {self.network}: {err}")
                continue
            if asked.facts["torch"] != torch.__version__:
                notes.append(f"{asked.name} runs on torch {asked.facts['torch']}")
            row = Row(network=self.network, pipeline=asked.name, largest_difference=apart)
            turns.append((row, lambda asked=asked: asked.run(len(self.chips))))
        return turns, notes


def ratios(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return how many times as fast as the others ours is: medians of the ratios in turns.

    By network, then by the first word of the pipeline; where it ran with several numbers of
    workers, against the faster one.
    """
    found: dict[str, dict[str, float]] = {}
    ours = {row.network: row for row in rows if row.pipeline == OURS}
    for row in rows:
        if row.pipeline == OURS:
            continue
        turns = zip(ours[row.network].chips_per_s, row.chips_per_s, strict=True)
        ratio = round(statistics.median(mine / theirs for mine, theirs in turns), 3)
        name = row.pipeline.split(maxsplit=1)[0]
        network = found.setdefault(row.network, {})
        network[name] = min(ratio, network.get(name, ratio))
    return found


def entries(names: list[str], folder: Path) -> tuple[list[tuple[Contender, Path]], list[str]]:
    """Return the contenders with their interpreters, and what kept others out."""
    found, kept_out = [(LOOP, python_of(LOOP, folder))], []
    for name in names:
        try:
            found.append((CONTENDERS[name], python_of(CONTENDERS[name], folder)))
        except EnvironmentFailedError as err:
            kept_out.append(f"{name} could not be installed: {err}")
    return found, kept_out


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return all rows, the ratios, and a note of what kept contenders out."""
    (folder / "scene").mkdir()
    scene = folder / "scene" / "filled.tif"
    networks = {COMPACT: "harvey", RESNET18: str(folder / "resnet18")}
    if arguments.smoke:
        make_smoke_scene(scene)
    else:
        make_filled_scene(arguments.source, scene)
    if RESNET18 in arguments.networks:
        make_bundle("resnet18", folder / "resnet18")
    taking_part, notes = entries(arguments.contenders, arguments.envs)
    chips, rows = chips_of(scene), []
    for network in arguments.networks:
        predictor = Predictor(load_bundle(networks[network]), device="cpu")
        contest = Contest(
            network=network, predictor=predictor, scene=scene, chips=chips, folder=folder
        )
        more, told = contest.hold(taking_part, runs=arguments.runs)
        rows += more
        notes += told
    return {
        "machine": machine(),
        "chips": len(chips),
        "rows": [asdict(row) for row in rows],
        "ratios": ratios(rows),
        "note": "; ".join(notes),
    }


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("DAMAGENET_DATA", "../shared/data"))
    source = data / "scenes" / "houston_large_post.tif"
    parser.add_argument("--source", type=Path, default=source, help="scene to take blocks from")
    parser.add_argument("--contenders", default="", help=f"of {','.join(CONTENDERS)}")
    parser.add_argument("--envs", type=Path, default=Path("build/bench-envs"), help="their homes")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="16 chips of noise, one run")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    arguments.contenders = [name for name in arguments.contenders.split(",") if name]
    if unknown := set(arguments.contenders) - set(CONTENDERS):
        parser.error(f"unknown contender {min(unknown)!r}: choose of {', '.join(CONTENDERS)}")
    if arguments.smoke:
        arguments.runs, arguments.networks = 1, [COMPACT]
    return arguments


def main() -> None:
    """Measure, and print the JSON."""
    arguments = parsed()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = measure(arguments, Path(folder))
        except ContenderFailedError as err:
            sys.exit(f"a contender stopped in the middle: {err}")
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
