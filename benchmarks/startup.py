"""How long commands take to start, in fresh processes, and what they load.

    python benchmarks/startup.py [--repeats 7] [--out FILE]

`--help`, an assessment of a scene of one chip by the shipped model, and importing the service are
run in turns, each time with its files taken out of the page cache first (`cold`) and then as they
lie there (`warm`). Files that another process has mapped stay, so that cold is a lower bound on a
machine at work. JSON on stdout or in FILE: medians of seconds on the clock and of the processor,
the resident memory at the end, how many modules were loaded and the 15 that took longest by
themselves. The bars are 0.4 s for `--help` and 5 s for a cold assessment.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

BARS_S = {"help": 0.4, "assess": 5.0}
SHOWN = 15
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", re.MULTILINE)
ENDING = """
import atexit, json, sys
def tell():
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    files |= {line.split()[-1] for line in open("/proc/self/maps") if line.rstrip().endswith(".so")}
    found = {"mb": int(status["VmRSS"].split()[0]) // 1024, "modules": len(sys.modules),
             "files": sorted(file for file in files if file)}
    open(TOLD, "w").write(json.dumps(found))
atexit.register(tell)
"""
CODES = {
    "help": 'sys.argv = ["damagenet", "--help"]; from damagenet.cli import main; main.run()',
    "assess": (
        'sys.argv = ["damagenet", "assess", {scene!r}, "--out", {out!r}, "--overwrite", "--quiet"]'
        "; from damagenet.cli import main; main.run()"
    ),
    "service": "import api.serve",
}
"""What is run; `damagenet` itself is these lines."""


def write_scene(path: Path) -> None:
    """Write ground of the size of one chip, 64 m square, as a GeoTIFF."""
    pixels = np.random.default_rng(0).integers(60, 200, (3, 128, 128), dtype=np.uint8)
    georeference = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 270_000, 0, -0.5, 3_300_000)}
    with rasterio.open(
        path, "w", driver="GTiff", width=128, height=128, count=3, dtype="uint8", **georeference
    ) as file:
        file.write(pixels)


def forget(files: list[str]) -> None:
    """Take files out of the page cache, where nobody has them mapped."""
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except OSError:
            continue  # built in, or frozen
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def run(code: str, told: Path, *options: str) -> tuple[dict[str, float], dict, str]:
    """Run code in a fresh process: its seconds, what it told at its end, and its stderr."""
    before = os.times()
    started = time.perf_counter()
    script = f"{ENDING.replace('TOLD', repr(str(told)))}\n{code}\n"
    done = subprocess.run(
        [sys.executable, *options, "-c", script], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    after = os.times()
    processor = after.children_user + after.children_system
    processor -= before.children_user + before.children_system
    return {"s": seconds, "processor_s": processor}, json.loads(told.read_text()), done.stderr


def measure(codes: dict[str, str], told: Path, repeats: int) -> dict[str, dict]:
    """Return the figures of each code."""
    found: dict[str, dict] = {}
    for name, code in codes.items():
        _, end, stderr = run(code, told, "-X", "importtime")
        longest = sorted(((int(us), module) for us, module in LINE.findall(stderr)), reverse=True)
        found[name] = {
            "bar_s": BARS_S.get(name),
            "memory_mb": end["mb"],
            "modules": end["modules"],
            "longest_ms": {module: round(us / 1000, 1) for us, module in longest[:SHOWN]},
            "files": end["files"],
            "times": {"cold": [], "warm": []},
        }
    for _ in range(repeats):
        for name, code in codes.items():
            forget(found[name]["files"])
            for state in ("cold", "warm"):
                found[name]["times"][state].append(run(code, told)[0])
    for figures in found.values():
        del figures["files"]
        for state, times in figures.pop("times").items():
            for key in ("s", "processor_s"):
                value = statistics.median(each[key] for each in times)
                figures[f"{state}_{key}"] = round(value, 3)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", "--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "one.tif"
        write_scene(scene)
        codes = {
            name: code.format(scene=str(scene), out=f"{folder}/out") for name, code in CODES.items()
        }
        figures = measure(codes, Path(folder) / "told.json", arguments.repeats)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    text = json.dumps({"machine": machine, "repeats": arguments.repeats, **figures}, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
