"""Ranges of a file by the words of RFC 9110, 14: which bytes a caller asks for, if any."""

import re
from dataclasses import dataclass

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

MOST_PARTS = 100
"""Ranges of one request; with more the whole file is sent, as for an unknown unit."""
PART = re.compile(r"([0-9]{0,100})-([0-9]{0,100})")
"""One range. The digits have an end, as Python turns no longer text into a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRanges:
    """The ranges of a `Range` header that lie in a file.

    Attributes:
        kept: First and last byte of each, in the order in which they were asked for.
    """

    kept: tuple[tuple[int, int], ...]

    @property
    def header(self) -> str:
        """The ranges as a header that asks for nothing outside of the file."""
        return "bytes=" + ",".join(f"{first}-{last}" for first, last in self.kept)


def read_ranges(header: str, size: int) -> ByteRanges | None:
    """Return the ranges of a header that a file has; None where the header must be ignored.

    Parts that cannot be read or lie outside are left out, so that none may be left.

    Args:
        header: `Range` as it was sent.
        size: Bytes of the file.
    """
    unit, equals, text = header.partition("=")
    parts = [part.strip() for part in text.split(",", MOST_PARTS)]
    if unit.strip().lower() != "bytes" or not equals or len(parts) > MOST_PARTS:
        return None
    found = [_part(part, size) for part in parts]
    return ByteRanges(kept=tuple(one for one in found if one is not None))


def _part(text: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte of one range; None where nothing of it is in the file."""
    written = PART.fullmatch(text)
    if written is None or text == "-":
        return None
    if not written[1]:
        length = min(int(written[2]), size)
        return (size - length, size - 1) if length else None
    first = int(written[1])
    last = int(written[2]) if written[2] else size - 1
    return (first, min(last, size - 1)) if first <= last and first < size else None


class RangedFile(FileResponse):
    """A file of which the ranges are sent that were read before, and no others."""

    ranges: ByteRanges | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or its ranges."""
        dropped = (b"range", b"if-range")
        headers = [pair for pair in scope["headers"] if pair[0].lower() not in dropped]
        if self.ranges is not None:
            headers.append((b"range", self.ranges.header.encode()))
        await super().__call__({**scope, "headers": headers}, receive, send)
