"""Real services for tests: servers of databases and queues, workers, `damagenet serve`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import ServiceSettings

DAMAGENET = (sys.executable, "-c", "from damagenet.cli.main import run; run()")
PATIENCE_S = 120.0
"""For anything that a busy machine may keep waiting."""
LEASE_S = 1.5
DEVICE = os.environ.get("DAMAGENET_TEST_DEVICE", "cpu")
"""Where the service's networks run: `DAMAGENET_TEST_DEVICE=cuda pytest tests/test_service_*` on a
machine that has a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where a service keeps its jobs and its messages; None for files in its folder."""

    database_url: str | None = None
    queue_url: str | None = None

    def settings(self, folder: Path, **more: Any) -> ServiceSettings:
        """Return settings of a service in a folder."""
        given = {"lease_s": LEASE_S, "device": DEVICE} | more
        return ServiceSettings(
            data_dir=folder, database_url=self.database_url, queue_url=self.queue_url, **given
        )

    def environment(self, folder: Path, **more: Any) -> dict[str, str]:
        """Return the same for a process."""
        values = self.settings(folder, **more).model_dump(mode="json", exclude_unset=True)
        named = {f"DAMAGENET_{name.upper()}": str(v) for name, v in values.items() if v is not None}
        return os.environ | {"OMP_NUM_THREADS": "1"} | named


LAPTOP = Shape()


def until(condition: Callable[[], Any], what: str, *, patience_s: float = PATIENCE_S) -> Any:
    """Return the first true value of a condition; fail where it takes too long."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    return pytest.fail(f"waited {patience_s:.0f} s for {what}")


@contextmanager
def client_of(settings: ServiceSettings) -> Iterator[TestClient]:
    """Yield a client of an application in this process, without workers."""
    with TestClient(create_app(settings)) as client:
        yield client


def children(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started, from any of its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text(encoding="utf-8").split())
    return found


def memory_bytes(pid: int) -> int:
    """Return the memory that a process has in use."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def process(*command: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the block runs; what it says goes into a file."""
    with log.open("ab") as stream:
        running = subprocess.Popen(command, env=env, stderr=stream, stdout=stream)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def worker(shape: Shape, folder: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run `damagenet worker` while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    env = shape.environment(folder, **settings)
    with process(*DAMAGENET, "worker", env=env, log=folder / "worker.log") as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running `damagenet serve`."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path


@contextmanager
def serve(shape: Shape, folder: Path, *arguments: str, **settings: Any) -> Iterator[Served]:
    """Run `damagenet serve` on a free port of loopback while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    log, port = folder / "serve.log", free_port()
    command = (*DAMAGENET, "serve", "--port", str(port), *arguments)
    env = shape.environment(folder, **settings)
    begun = log.stat().st_size if log.exists() else 0

    def said() -> bool:
        if running.poll() is not None:
            pytest.fail(f"serve ended: {log.read_text(encoding='utf-8')[begun:]}")
        return b"serving at" in log.read_bytes()[begun:]

    with process(*command, env=env, log=log) as running:
        until(said, "serve to say its address")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield Served(process=running, client=client, log=log)


def ended(client: TestClient | httpx.Client, job_id: str, **headers: str) -> dict[str, Any]:
    """Return the status of a job once it has ended."""

    def status() -> dict[str, Any] | None:
        found = client.get(f"/v1/assessments/{job_id}", headers=headers).json()
        return None if found["status"] in ("accepted", "running") else found

    return until(status, f"job {job_id} to end")


def under_way(client: TestClient | httpx.Client, ask: Callable[[], str]) -> str:
    """Return a job of which some units are done and others are not.

    One that ended before anybody looked is asked for again.
    """
    job_id = ask()

    def computing() -> bool:
        nonlocal job_id
        found = client.get(f"/v1/assessments/{job_id}").json()
        if found["status"] not in ("accepted", "running"):
            job_id = ask()
        step = found["step"]
        return step is not None and 0 < step["units_done"] < step["units_total"]

    until(computing, "the assessment to be under way")
    return job_id


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the address of a PostgreSQL server of its own; skip where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder, port = Path(mkdtemp(prefix="damagenet-pg-")), free_port()
    # initdb refuses to run as root.
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        subprocess.run(["chown", "postgres", str(folder)], check=True)
    bin_, data = found[-1].parent, folder / "data"
    make = [str(bin_ / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"]
    subprocess.run([*as_user, *make], check=True, capture_output=True, cwd=folder)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
    control = [*as_user, str(bin_ / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
    subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True, cwd=folder)
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, capture_output=True, cwd=folder)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@contextmanager
def redis(port: int | None = None) -> Iterator[str]:
    """Yield the address of a Redis server of its own; skip where there is none."""
    folder, port = Path(mkdtemp(prefix="damagenet-redis-")), port or free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    try:
        running = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError:
        pytest.skip("needs Redis: apt-get install redis-server")
    try:
        until(lambda: _answers(port), "Redis to answer")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
