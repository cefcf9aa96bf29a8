"""How many pictures a TIFF holds: counted along the chain in the file, before a library walks it.

Classic TIFF: TIFF 6.0, section 2; BigTIFF: libtiff's design, with 8-byte places.
"""

import struct
from pathlib import Path
from typing import BinaryIO

CLASSIC, BIG = 42, 43
ENTRY_BYTES = {CLASSIC: 12, BIG: 20}
COUNT = {CLASSIC: "H", BIG: "Q"}
PLACE = {CLASSIC: "I", BIG: "Q"}


def count_directories(path: Path, most: int) -> int:
    """Return the number of directories (the picture, its overviews and masks), at most `most + 1`.

    A chain that ends behind the file's end, or leads back, ends there: it is for the reader to
    judge.

    Args:
        path: A TIFF, as its first four bytes say.
        most: Where to stop counting.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head.startswith(b"II") else ">"
        (version,) = struct.unpack_from(f"{order}H", head, 2)
        if version not in ENTRY_BYTES or len(head) < 16:
            return 0
        (place,) = struct.unpack_from(f"{order}{PLACE[version]}", head, 8 if version == BIG else 4)
        seen: set[int] = set()
        while place and place not in seen and len(seen) <= most:
            seen.add(place)
            place = _next(file, place, order, version)
    return len(seen)


def _next(file: BinaryIO, place: int, order: str, version: int) -> int:
    """Return where the directory after one begins; 0 where there is none."""
    number = _read(file, place, f"{order}{COUNT[version]}")
    if number is None:
        return 0
    behind = place + struct.calcsize(COUNT[version]) + number * ENTRY_BYTES[version]
    return _read(file, behind, f"{order}{PLACE[version]}") or 0


def _read(file: BinaryIO, place: int, form: str) -> int | None:
    if place >= 2**63:
        return None
    file.seek(place)
    data = file.read(struct.calcsize(form))
    return int(struct.unpack(form, data)[0]) if len(data) == struct.calcsize(form) else None
