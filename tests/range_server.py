"""A web server of a folder that serves ranges, or does not, and tells what it was asked.

It runs in a process of its own: GDAL holds Python's lock in some of its reads.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

CONTROL = "_control"


@dataclass(frozen=True)
class Asked:
    """One request: what was asked for how, and how many bytes were sent."""

    name: str
    method: str
    query: str
    sent: int


@dataclass
class RangeServer:
    """What a test holds of the server.

    Attributes:
        url: Address of the server, ending in a slash.
        folder: What it serves.
    """

    url: str
    folder: Path

    def add(self, name: str, source: Path | bytes) -> str:
        """Serve a file or bytes under a name and return the address."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = source if isinstance(source, bytes) else source.read_bytes()
        path.write_bytes(content)
        return self.url + name

    def tell(self, **changes: object) -> None:
        """Change how it answers; see `Ways`."""
        urlopen(Request(self.url + CONTROL, json.dumps(changes).encode())).close()

    def asked(self) -> list[Asked]:
        """Return all requests so far."""
        with urlopen(self.url + CONTROL) as answer:
            return [Asked(*entry) for entry in json.load(answer)]

    def sent(self, name: str) -> int:
        """Return the number of bytes that were sent of a file."""
        return sum(one.sent for one in self.asked() if one.name == name)


@contextmanager
def range_server() -> Iterator[RangeServer]:
    """Run a server on a free port of this machine."""
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-S", __file__, folder], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            yield RangeServer(process.stdout.readline().strip(), Path(folder))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@dataclass
class Ways:
    """How the server answers.

    Attributes:
        statuses: Answers of these names instead of their bytes (200: the bytes), one after the
            other; the last one stays.
        moved: Where a name's redirect leads.
        ranges: False to send whole files whatever is asked for.
        tags: False to send no ETag.
        heads: False to refuse HEAD, as a server does whose addresses are signed for GET.
    """

    statuses: dict[str, list[int]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    heads: bool = True

    def reply(self, path: Path, name: str, wanted: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and bytes."""
        if name in self.moved:
            return 302, {"Location": self.moved[name]}, b""
        statuses = self.statuses.get(name, [200])
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status != 200 or not path.is_file():
            return (404 if status == 200 else status), {}, b"no"
        content = path.read_bytes()
        tag = {"ETag": f'"{path.stat().st_mtime_ns:x}"'} if self.tags else {}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        if not match or not self.ranges:
            return 200, tag, content
        first = int(match[1])
        if first >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
        part = content[first : int(match[2]) + 1] if match[2] else content[first:]
        last = first + len(part) - 1
        return 206, tag | {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, part


class Handler(BaseHTTPRequestHandler):
    """Answers from the folder of the command line."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    ways = Ways()
    log: list[list[object]] = []  # noqa: RUF012  # one for the process

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Answer until the reader has had enough."""
        with suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        """Change the ways."""
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for name, value in told.items():
            setattr(self.ways, name, value)
        self._send(200, {}, b"")

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        if self.ways.heads:
            self.do_GET()
            return
        parts = urlsplit(self.path)
        self.log.append([parts.path.lstrip("/"), self.command, parts.query, 0])
        self._send(403, {}, b"")

    def do_GET(self) -> None:
        """Answer with a file, a range of it, or the log."""
        parts = urlsplit(self.path)
        name = parts.path.lstrip("/")
        if name == CONTROL:
            self._send(200, {}, json.dumps(self.log).encode())
            return
        reply = self.ways.reply(self.folder / name, name, self.headers.get("Range", ""))
        planned = 0 if self.command == "HEAD" else len(reply[2])
        entry: list[object] = [name, self.command, parts.query, planned]
        self.log.append(entry)
        sent = self._send(*reply)
        entry[3] = sent

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> int:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        sent = 0
        with suppress(OSError):
            while self.command != "HEAD" and sent < len(content):
                sent += self.wfile.write(content[sent : sent + 65536])
        return sent


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{httpd.server_port}/\n")
    sys.stdout.flush()
    httpd.serve_forever()
