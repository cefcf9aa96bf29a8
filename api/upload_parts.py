"""The bytes of a file that is sent in parts: appended in order, one sender at a time."""

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool

from api.problems import ServiceError

CHUNK_BYTES = 2**20


def offset_of(path: Path) -> int:
    """Return how many bytes of a file have arrived."""
    return path.stat().st_size if path.exists() else 0


async def append(path: Path, parts: AsyncIterator[bytes], *, first: int, bytes_total: int) -> int:
    """Append bytes to a file and return how many it has then; what arrived before a break stays.

    Args:
        path: The file; made where it is not there.
        parts: The bytes, in order.
        first: Place of the first one, which must be the file's end.
        bytes_total: Bytes of the whole file.

    Raises:
        ServiceError: 409 if `first` is not the file's end or another sender is at it, 413 if more
            bytes come than were announced.
    """
    stream = await run_in_threadpool(_open, path, first)
    waiting = bytearray()
    try:
        async for part in parts:
            waiting += part
            if first + len(waiting) > bytes_total:
                raise ServiceError(
                    413, f"more bytes came than the {bytes_total} that were announced"
                )
            if len(waiting) >= CHUNK_BYTES:
                first += await run_in_threadpool(stream.write, bytes(waiting))
                waiting.clear()
    finally:
        await run_in_threadpool(_close, stream, bytes(waiting))
    return first + len(waiting)


async def finished_sha256(path: Path, bytes_total: int) -> str:
    """Return the SHA-256 of a whole file; raise ServiceError 409 if bytes are missing."""
    offset = offset_of(path)
    if offset != bytes_total:
        raise ServiceError(
            409,
            f"{offset} of {bytes_total} bytes have arrived: send the rest from byte {offset}",
            {"Upload-Offset": str(offset)},
        )
    return await run_in_threadpool(_sha256, path)


def _open(path: Path, first: int) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        offset = os.fstat(stream.fileno()).st_size
        if offset != first:
            raise ServiceError(
                409,
                f"the next byte of this upload is {offset}, not {first}: go on from there",
                {"Upload-Offset": str(offset)},
            )
    except BlockingIOError:
        stream.close()
        raise ServiceError(409, "another request is sending a part of this upload") from None
    except ServiceError:
        stream.close()
        raise
    return stream


def _close(stream: BinaryIO, rest: bytes) -> None:
    with stream:
        stream.write(rest)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
