"""What the Ray engine costs beside the local one: start, units per second, memory of a worker.

    python benchmarks/cluster.py SCENE [--rounds 3] [--ray-address HOST:PORT]

Assesses the scene by both engines in turns, into folders that are thrown away, checks that the
parts are equal to the byte, and prints medians.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from damagenet.engine.batch import assess_scenes
from damagenet.engine.run_result import RunProgress
from damagenet.options import AssessOptions


def main() -> None:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray-address")
    parser.add_argument("--model", default="harvey-event")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    plain = AssessOptions(model=given.model, format="csv")
    ray = AssessOptions(
        model=given.model, format="csv", engine="ray", ray_address=given.ray_address
    )
    figures: dict[str, list[tuple[float, float, float]]] = {"local": [], "ray": []}
    for _ in range(given.rounds):
        parts = []
        for options in (plain, ray):
            with tempfile.TemporaryDirectory() as folder:
                figures[options.engine].append(assess(given.scene, Path(folder), options))
                parts.append(
                    {
                        path.name: path.read_bytes()
                        for path in Path(folder).glob("*/parts/*.parquet")
                    }
                )
        if parts[0] != parts[1]:
            raise SystemExit("the engines made different parts")
    for engine, runs in figures.items():
        whole, start, rate = (median(column) for column in zip(*runs, strict=True))
        print(
            f"{engine}: {whole:.1f} s in all, {start:.1f} s to the first part, "
            f"then {rate:.0f} units/s (medians of {given.rounds})"
        )
    print("parts are equal to the byte")


def assess(scene: Path, out: Path, options: AssessOptions) -> tuple[float, float, float]:
    """Return seconds in all, seconds to the first part, and units per second after it."""
    began = time.perf_counter()
    moments: list[tuple[float, int]] = []
    assess_scenes([scene], out, options, progress=_noting(moments))
    whole = time.perf_counter() - began
    made = [(moment, units) for moment, units in moments if units]
    (first, some), (last, every) = made[0], made[-1]
    return whole, first - began, (every - some) / max(last - first, 1e-9)


def _noting(moments: list[tuple[float, int]]) -> Callable[[RunProgress], None]:
    return lambda progress: moments.append((time.perf_counter(), progress.scene.units_done))


if __name__ == "__main__":
    main()
