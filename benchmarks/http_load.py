"""Many clients at once on one address, as cheap as they can be: requests are bytes made before.

Each client keeps one connection and sends its next request when the answer to the last is there.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

BOUNDARY = "damagenet-benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file or text of a form; a path is sent from the disk."""

    name: str
    content: bytes | Path
    file_name: str = ""

    def head(self) -> bytes:
        """Return what stands before the content."""
        file = f'; filename="{self.file_name}"' if self.file_name else ""
        disposition = f'Content-Disposition: form-data; name="{self.name}"{file}'
        return f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode()

    def length(self) -> int:
        """Return the bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(slots=True, kw_only=True)
class Load:
    """What clients saw. Filled while they run."""

    seconds: float = 0.0
    in_time: int = 0
    """Answers 200 that came before the time was over."""
    waits_s: list[float] = field(default_factory=list)
    """How long each answered request took."""
    statuses: Counter[int] = field(default_factory=Counter)


def request_head(path: str, parts: list[Part]) -> bytes:
    """Return the head of a POST request that sends a form."""
    length = sum(len(part.head()) + part.length() + 2 for part in parts) + len(_tail())
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    ).encode()


def request_bytes(path: str, parts: list[Part]) -> bytes:
    """Return a whole request whose parts are all in memory."""
    content = b"".join(
        part.head() + part.content + b"\r\n" for part in parts if isinstance(part.content, bytes)
    )
    return request_head(path, parts) + content + _tail()


async def send(port: int, request: bytes, *, clients: int, seconds: float) -> Load:
    """Let clients send the same request over and over.

    Args:
        port: On this machine.
        request: From `request_bytes`.
        clients: Connections.
        seconds: After which nothing more is sent; what was sent is still waited for. Each client
            sends one request at least.
    """
    load = Load(seconds=seconds)
    end = time.perf_counter() + seconds
    await asyncio.gather(*(_client(port, request, end, load) for _ in range(clients)))
    return load


async def send_file(port: int, path: str, parts: list[Part]) -> int:
    """Send a form with files from the disk once; return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_head(path, parts))
    for part in parts:
        writer.write(part.head())
        if isinstance(part.content, Path):
            with part.content.open("rb") as file:
                await asyncio.get_running_loop().sendfile(writer.transport, file)
        else:
            writer.write(part.content)
        writer.write(b"\r\n")
    writer.write(_tail())
    await writer.drain()
    status = await _answer(reader)
    writer.close()
    return status


async def _client(port: int, request: bytes, end: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    finished = 0.0
    while finished < end:
        started = time.perf_counter()
        writer.write(request)
        await writer.drain()
        status = await _answer(reader)
        finished = time.perf_counter()
        load.statuses[status] += 1
        load.waits_s.append(finished - started)
        load.in_time += status == 200 and finished <= end
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.split("content-length:", 1)[1].split("\r\n", 1)[0]
    await reader.readexactly(int(length))
    return int(head.split(" ", 2)[1])


def _tail() -> bytes:
    return f"--{BOUNDARY}--\r\n".encode()
