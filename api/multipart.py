"""A multipart request straight to disk: never held in memory, hashed on the way, limited."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.folders import JobFolder, Role
from api.inputs import as_role, new_input
from api.inspecting import require_open
from api.problems import ServiceError
from api.schemas import SentFile

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

CHUNK_BYTES = 2**20
"""Bytes that are gathered before they are written."""
FIELD_BYTES = 2**16
"""Longest text field."""
TEXT_BYTES = 2**20
"""All text fields of one form with their names, which are held in memory."""
MOST_PARTS = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a form held.

    Attributes:
        fields: Text fields by name, in order.
        files: Files by role, as they lie in the job's folder.
    """

    fields: dict[str, list[str]]
    files: dict[Role, list[SentFile]]


async def receive_form(
    request: Request, folder: JobFolder, *, max_bytes: int, closing: Event
) -> Received:
    """Write the files of a request into a job's inputs and return them with the text fields.

    Args:
        request: Its body is a multipart form.
        folder: Of the job; made. The caller deletes it if anything is raised.
        max_bytes: Bytes of the whole request.
        closing: Set when the service ends.

    Raises:
        ServiceError: 413 beyond a limit, 415 for another content type, 422 for a broken form or
            a file that cannot be taken, 503 where the service ends.
    """
    boundary = _boundary(request)
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    form = _Form(folder=folder)
    received, waiting = 0, bytearray()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in request.stream():
            require_open(closing)
            received += len(chunk)
            if received > max_bytes:
                raise _too_large(max_bytes)
            waiting += chunk
            if len(waiting) >= CHUNK_BYTES:
                await run_in_threadpool(parser.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(parser.write, bytes(waiting))
        parser.finalize()
    except (FormParserError, UnicodeDecodeError) as err:
        raise ServiceError(422, "the form is broken: send it again as multipart/form-data") from err
    except ClientDisconnect as err:
        raise ServiceError(400, "the connection ended before the form did: send it again") from err
    finally:
        form.close()
    if not form.ended:
        raise ServiceError(422, "the form ends too early: send it again, whole")
    return Received(fields=dict(form.fields), files=dict(form.files))


@dataclass(slots=True, kw_only=True)
class _Part:
    """The part of the form that is being read."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    path: Path | None = None
    stream: BinaryIO | None = None
    text: bytearray = field(default_factory=bytearray)
    size: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


@dataclass(slots=True, kw_only=True)
class _Form:
    """Hears the parser and writes what it says."""

    folder: JobFolder
    fields: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[Role, list[SentFile]] = field(default_factory=lambda: defaultdict(list))
    ended: bool = False
    part: _Part = field(default_factory=_Part)
    parts: int = 0
    text_bytes: int = 0
    header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))

    def callbacks(self) -> "MultipartCallbacks":
        """Return what the parser calls."""
        return {
            "on_part_begin": self.begin,
            "on_header_field": lambda data, start, end: self.header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self.header[1].extend(data[start:end]),
            "on_header_end": self.end_header,
            "on_headers_finished": self.open_part,
            "on_part_data": self.add,
            "on_part_end": self.end_part,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise ServiceError(413, f"the form has more than {MOST_PARTS} parts: send fewer")
        self.part = _Part()

    def end_header(self) -> None:
        # The parser of options wants one character a byte; what they hold is UTF-8.
        name, value = (text.decode("latin-1") for text in self.header)
        self.part.headers[name.lower()] = value
        self.header = (bytearray(), bytearray())

    def open_part(self) -> None:
        """Decide by its headers whether a part is a file or a text."""
        disposition = self.part.headers.get("content-disposition", "")
        _, options = parse_options_header(disposition)
        self.part.name = options.get(b"name", b"").decode("utf-8")
        if b"filename" not in options:
            self.spend(len(self.part.name))
            return
        sent = options[b"filename"].decode("utf-8")
        if not sent:
            # Browsers send a file field that was left empty so.
            self.part.name = ""
            return
        self.part.path = new_input(self.folder, self.part.name, sent)
        self.part.stream = self.part.path.open("xb")

    def add(self, data: bytes, start: int, end: int) -> None:
        piece, part = memoryview(data)[start:end], self.part
        if part.stream is not None:
            part.stream.write(piece)
            part.digest.update(piece)
            part.size += len(piece)
            return
        part.text += piece
        self.spend(len(piece))
        if len(part.text) > FIELD_BYTES:
            raise ServiceError(
                413, f"field {part.name[:80]!r} is longer than {FIELD_BYTES} bytes: shorten it"
            )

    def spend(self, length: int) -> None:
        """Count what is held in memory; raise ServiceError 413 beyond the limit."""
        self.text_bytes += length
        if self.text_bytes > TEXT_BYTES:
            raise ServiceError(
                413, f"the texts of the form are longer than {TEXT_BYTES} bytes: shorten them"
            )

    def end_part(self) -> None:
        part = self.part
        if part.path is None:
            if part.name:
                self.fields[part.name].append(part.text.decode("utf-8"))
            return
        self.close()
        sent = SentFile(name=part.path.name, bytes=part.size, sha256=part.digest.hexdigest())
        self.files[as_role(part.name)].append(sent)

    def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self.part.stream is not None:
            self.part.stream.close()


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise ServiceError(415, "the request must be multipart/form-data with a boundary")
    return boundary


def _too_large(max_bytes: int) -> ServiceError:
    return ServiceError(
        413,
        f"the request is larger than {max_bytes} bytes (max_upload_bytes): send fewer or smaller "
        "files, or ask whoever runs the service to raise DAMAGENET_MAX_UPLOAD_BYTES",
    )
