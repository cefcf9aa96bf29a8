"""The bytes of a file that is sent in parts: appended in order, one sender at a time."""

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path

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
        OSError: If the disk is full; what was written before stays.
    """
    stream = await run_in_threadpool(_open, path, first)
    waiting = bytearray()
    try:
        async for part in parts:
            if first + len(waiting) + len(part) > bytes_total:
                raise ServiceError(
                    413, f"more bytes came than the {bytes_total} that were announced"
                )
            waiting += part
            if len(waiting) >= CHUNK_BYTES:
                # Let go before they are written: a full disk must not have them written twice.
                full, waiting = waiting, bytearray()
                first += await run_in_threadpool(_write, stream, full)
    finally:
        await run_in_threadpool(_close, stream, waiting)
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


def _open(path: Path, first: int) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unbuffered, so that the file's size is what has arrived, whatever happens.
    stream = path.open("ab", buffering=0)
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


def _write(stream: FileIO, data: bytearray) -> int:
    """Write all bytes and return how many; a system may take a part of them at a time."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]
    return len(data)


def _close(stream: FileIO, rest: bytearray) -> None:
    with stream:
        _write(stream, rest)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
