"""Kill workers, runners and the whole service at random moments, and see that no job is lost.

    python benchmarks/service_kills.py [--moments 30] [--seed 0] [--out DIR]

Each time one process dies by SIGKILL at a random moment of an assessment: the runner that
computes, its worker, or `damagenet serve` itself, which is then started again. The job must end
successful, once, and with the bytes of a run that nobody disturbed.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from data_prep.synthetic import make_scene

FILES = ("damage.csv", "damage.geojson")
VICTIMS = ("runner", "worker", "serve")
OPTIONS = {"stride": "6"}
LEASE_S = 2.0
DAMAGENET = (sys.executable, "-c", "from damagenet.cli.main import run; run()")


@dataclass(slots=True, kw_only=True)
class Service:
    """A running `damagenet serve` with one worker, in a folder that outlives it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where assessments are asked for."""
        return f"http://127.0.0.1:{self.port}/v1/assessments"

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {"DAMAGENET_LEASE_S": str(LEASE_S), "OMP_NUM_THREADS": "1"}
        log = (self.folder / "log").open("ab")
        command = (*DAMAGENET, "serve", "--port", str(self.port), "--data", str(self.folder))
        self.process = subprocess.Popen(command, env=os.environ | environment, stderr=log)
        while not self.answers():
            time.sleep(0.1)

    def answers(self) -> bool:
        """Return whether it is there."""
        try:
            urllib.request.urlopen(self.address).close()
        except OSError:
            return False
        return True

    def pids(self) -> dict[str, int]:
        """Return the processes that are there by now, by what they are."""
        found = {"serve": self.process.pid if self.process else 0}
        for kind, parent in (("worker", "serve"), ("runner", "worker")):
            below = children(found[parent]) if parent in found else []
            if below:
                found[kind] = below[0]
        return found

    def kill(self, victim: str) -> None:
        """Kill one process as soon as there is one of its kind."""
        while victim not in (pids := self.pids()):
            time.sleep(0.05)
        os.kill(pids[victim], signal.SIGKILL)
        if victim == "serve" and self.process is not None:
            self.process.wait()
            self.start()

    def ask(self, scene: Path) -> str:
        """Send a scene and return the job's id."""
        boundary = uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in OPTIONS.items()
        ]
        head = "".join(parts) + (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; '
            f'filename="{scene.name}"\r\n\r\n'
        )
        body = head.encode() + scene.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        request = urllib.request.Request(
            self.address,
            data=body,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["jobID"]

    def status(self, job_id: str) -> dict[str, Any]:
        """Return how a job goes."""
        with urllib.request.urlopen(f"{self.address}/{job_id}") as answer:
            return json.load(answer)

    def end(self, job_id: str) -> dict[str, Any]:
        """Return the status of a job once it has ended."""
        while (status := self.status(job_id))["status"] in ("accepted", "running"):
            time.sleep(0.1)
        return status

    def hashes(self, job_id: str) -> list[str]:
        """Return hashes of a job's files."""
        found = []
        for name in FILES:
            with urllib.request.urlopen(f"{self.address}/{job_id}/results/{name}") as answer:
                found.append(hashlib.sha256(answer.read()).hexdigest()[:12])
        return found


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text(encoding="utf-8").split())
        except OSError:
            continue
    return found


@contextmanager
def served(folder: Path, port: int) -> Iterator[Service]:
    """Yield a running service."""
    service = Service(folder=folder, port=port)
    service.start()
    try:
        yield service
    finally:
        if service.process is not None:
            service.process.terminate()
            service.process.wait()


def seconds_of(service: Service, scene: Path) -> tuple[float, list[str]]:
    """Return how long an undisturbed assessment takes, and the hashes of its files."""
    service.end(service.ask(scene))
    begun = time.monotonic()
    job_id = service.ask(scene)
    service.end(job_id)
    return time.monotonic() - begun, service.hashes(job_id)


def main() -> None:
    """Print a table with one row for each moment, and how many went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=320, help="side of the made scene in pixels")
    parser.add_argument("--port", type=int, default=8907)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with TemporaryDirectory() as name:
        scene = make_scene(Path(name) / "scene.tif", size_px=given.size).scene
        small = make_scene(Path(name) / "small.tif", size_px=160).scene
        (Path(name) / "service").mkdir()
        with served(Path(name) / "service", given.port) as service:
            whole_s, expected = seconds_of(service, scene)
            print(f"undisturbed: {whole_s:.1f} s, {dict(zip(FILES, expected, strict=True))}\n")
            print("| moment | killed | after s | units done | ended | s | files |")
            print("|---|---|---|---|---|---|---|")
            good = 0
            for moment in range(1, given.moments + 1):
                service.end(service.ask(small))  # a fresh runner loads its model
                victim = VICTIMS[moment % len(VICTIMS)]
                row, same = disturb(
                    service, scene, victim, after_s=chance.uniform(0, whole_s), expected=expected
                )
                print(f"| {moment} | {row}", flush=True)
                good += same
    print(f"\n{good} of {given.moments} jobs ended successful with whole, equal files")
    sys.exit(good != given.moments)


def disturb(
    service: Service, scene: Path, victim: str, *, after_s: float, expected: list[str]
) -> tuple[str, bool]:
    """Kill one process in the middle of one job; return the row, and whether all is well."""
    while True:
        begun = time.monotonic()
        job_id = service.ask(scene)
        time.sleep(after_s)
        before = service.status(job_id)
        if before["status"] in ("accepted", "running"):
            break
        after_s /= 2  # the machine is faster by now: a job that has ended cannot be disturbed
    step = before["step"] or {}
    service.kill(victim)
    status = service.end(job_id)
    same = status["status"] == "successful" and service.hashes(job_id) == expected
    row = (
        f"{victim} | {after_s:.1f} | {step.get('units_done', '')} | {status['status']} | "
        f"{time.monotonic() - begun:.1f} | {'equal' if same else 'NOT EQUAL'} |"
    )
    return row, same


if __name__ == "__main__":
    main()
