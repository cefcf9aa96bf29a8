"""A real `damagenet serve` in a process of its own, and what it uses of the machine."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from http_load import send

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running service.

    Attributes:
        port: Where it listens.
        pid: Its process.
    """

    port: int
    pid: int

    def processor_s(self) -> float:
        """Return the processor time of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, name: str) -> float:
        """Return `VmRSS` (resident now) or `VmHWM` (its peak)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1000

    def forget_peak(self) -> None:
        """Let the peak of memory begin from what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@contextmanager
def served(data: Path, device: str, *, workers: int = 0) -> Iterator[Server]:
    """Run `damagenet serve` on a free port of this machine, by default without workers.

    What it says goes into a file beside its folder: a pipe that nobody reads would stop it.
    """
    code = "from damagenet.cli.main import run; run()"
    crew = ["--workers", str(workers)] if workers else ["--no-worker"]
    command = [sys.executable, "-c", code, "serve", *crew, "--port", "0"]
    log = data.with_name("serve.log")
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--data", str(data), "--device", device], stdout=stream, stderr=stream
        )
    try:
        server = Server(port=_port(log, process), pid=process.pid)
        _until_it_answers(server)
        yield server
    finally:
        process.terminate()
        process.wait()


def _port(log: Path, process: "subprocess.Popen[bytes]") -> int:
    while process.poll() is None:
        if found := re.search(r"serving at http://[^:]+:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    sys.exit(f"the service did not start: {log.read_text()}")


def _until_it_answers(server: Server) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(300):
        try:
            asyncio.run(send(server.port, request, clients=1, seconds=0.01))
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the service does not answer")
