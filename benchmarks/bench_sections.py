"""One benchmark of the bench, run as a command of its own, and what of its JSON is reported."""

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench_figures import measurements, missing, ratios
from bench_machine import commit
from bench_result import Bar, Section

from damagenet.engine.run_record import now

HERE = Path(__file__).parent
NO_GPU = 3
"""Exit status of a benchmark that says in a sentence that its device is not there."""
TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One section of the bench.

    Attributes:
        name: What `--only` calls it.
        title: Its heading.
        words: What is done, in a sentence or two.
        script: File in this folder.
        options: Words of its command line.
        smoke: Words instead of `options` that make it take seconds; None leaves it out of that.
        bars: Its ratios.
        repeats: The option that says how many runs; empty where it repeats by itself.
        tiles: Whether it measures more where the prepared Harvey tiles are there.
    """

    name: str
    title: str
    words: str
    script: str
    options: tuple[str, ...] = ()
    smoke: tuple[str, ...] | None = None
    bars: tuple[Bar, ...] = ()
    repeats: str = "--runs"
    tiles: bool = False


def measure(benchmark: Benchmark, options: tuple[str, ...], smoke: bool) -> Section:
    """Run a benchmark as a command of its own and return its section, whatever happens.

    A smoke run tells no ratios.

    A benchmark that exits with 1 has missed a bar and is reported as measured if it left its JSON.
    """
    load = round(os.getloadavg()[0], 2)
    words = [sys.executable, str(HERE / benchmark.script), *options]
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        status, said = _run([*words, "--json", str(path)])
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    bars = () if smoke else benchmark.bars
    section = Section(
        date=now(),
        commit=commit(),
        name=benchmark.name,
        title=benchmark.title,
        words=benchmark.words,
        status="failed",
        command=shlex.join(["python", f"benchmarks/{benchmark.script}", *options]),
        seconds=round(time.perf_counter() - started, 1),
        load_average=load,
    )
    if status == NO_GPU:
        return section.model_copy(update={"status": "not measured", "note": said})
    try:
        figures = json.loads(text)
        changes = {
            "status": "measured",
            "note": " ".join(filter(None, (figures.pop("note", ""), missing(figures, bars)))),
            "measurements": tuple(measurements(figures)),
            "ratios": tuple(ratios(figures, bars)),
        }
    except (ValueError, KeyError, AttributeError) as err:
        reason = said or f"exit status {status}"
        return section.model_copy(update={"note": f"{reason} ({type(err).__name__}: {err})"})
    return section.model_copy(update=changes)


def _run(command: list[str]) -> tuple[int, str]:
    """Return exit status and the last line on standard error."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return 124, f"not done after {TIMEOUT_S} s"
    lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines()
    return done.returncode, lines[-1][:500] if lines else ""
