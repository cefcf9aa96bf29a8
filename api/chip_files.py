"""Chips as they were sent, PNG, JPEG or NPY, to the pixels that a model takes."""

import io
import math
import struct
import tokenize
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from api.problems import ServiceError

MOST_CHIPS = 256
"""Chips of one request."""
MOST_SIDE_PX = 2048
"""Side of a picture that is to be resized."""
ASIDE_BYTES = 2**20
"""What a picture's file may hold beside its pixels, as colour profiles."""
BYTES_PER_PIXEL = 8
"""Twice what the pixels of a PNG can need; a JPEG of many more is made to keep a reader busy."""
PNG_DEPTH = 24
"""Place of the byte that says how many bits a sample of a PNG has."""
HEADER_BYTES = 1024
"""Longest header of an NPY file; numpy writes 118."""
PICTURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
COLOUR_MODES = ("RGB", "RGBA", "P")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFile:
    """One file as it was sent.

    Attributes:
        name: For answers, never for a path.
        content: All its bytes.
    """

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SentChips:
    """All chips of a request, in the order in which they were sent.

    Attributes:
        names: The file's name, with `#3` for the fourth chip of an array.
        pixels: uint8 (N, 3, S, S), red, green and blue.
    """

    names: tuple[str, ...]
    pixels: Pixels


def read_chips(files: Sequence[ChipFile], *, size_px: int, resize: bool) -> SentChips:
    """Return the chips of files.

    Args:
        files: At least one.
        size_px: Side S of the model's chips.
        resize: Resample other sizes (bicubic, with anti-aliasing) instead of refusing them.

    Raises:
        ServiceError: 422 if a file is no chip, or there are more than `MOST_CHIPS`.
    """
    names: list[str] = []
    arrays: list[Pixels] = []
    for file in files:
        pixels = _read(file, size_px, resize=resize, room=MOST_CHIPS - len(names))
        single = len(pixels) == 1
        names += [file.name] if single else [f"{file.name}#{n}" for n in range(len(pixels))]
        arrays.append(pixels)
    return SentChips(names=tuple(names), pixels=np.concatenate(arrays))


def _read(file: ChipFile, size_px: int, *, resize: bool, room: int) -> Pixels:
    """Return the chips of one file, uint8 (n, 3, S, S)."""
    if file.content.startswith(npy.MAGIC_PREFIX):
        array = _array(file, room)
        _check_size(file, array.shape[2], array.shape[1], size_px, resize=resize)
        if array.shape[1:3] != (size_px, size_px):
            array = np.stack([_resized(Image.fromarray(chip), size_px) for chip in array])
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    kinds = [kind for magic, kind in PICTURES.items() if file.content.startswith(magic)]
    if not kinds:
        raise _refusal(file, "is neither a PNG, a JPEG nor an NPY file: send one of these")
    if room < 1:
        raise _too_many()
    return _picture(file, kinds[0], size_px, resize=resize).transpose(2, 0, 1)[np.newaxis]


def _array(file: ChipFile, room: int) -> Pixels:
    """Return the array of an NPY file as a view, uint8 (n, H, W, 3)."""
    declared, fortran, start = _header(file)
    shape = declared if len(declared) == 4 else (1, *declared)
    channels_first = len(declared) == 4 and declared[1] == 3
    if len(shape) != 4 or min(shape) < 1 or (shape[3] != 3 and not channels_first):
        raise _refusal(
            file, f"holds an array {declared}: send (N, 3, S, S), (N, S, S, 3) or (S, S, 3)"
        )
    if shape[0] > room:
        raise _too_many()
    found, wanted = len(file.content) - start, math.prod(shape)
    if found != wanted:
        raise _refusal(
            file, f"has {found} bytes of values, {declared} are {wanted}: write it again, whole"
        )
    values = np.frombuffer(file.content, np.uint8, wanted, start)
    array = values.reshape(declared, order="F" if fortran else "C").reshape(shape)
    return array.transpose(0, 2, 3, 1) if channels_first else array


def _header(file: ChipFile) -> tuple[tuple[int, ...], bool, int]:
    """Return the shape, whether the first axis runs fastest, and where the values begin."""
    stream = io.BytesIO(file.content)
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream, max_header_size=HEADER_BYTES)
    except (ValueError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError) as err:
        raise _refusal(file, "has no readable NPY header: write it with numpy.save") from err
    if dtype != np.uint8:
        raise _refusal(file, f"holds {dtype.name[:40]}, the model takes uint8 (0 to 255)")
    return shape, fortran, stream.tell()


def _picture(file: ChipFile, kind: str, size_px: int, *, resize: bool) -> Pixels:
    """Return the pixels of a PNG or JPEG, uint8 (S, S, 3)."""
    try:
        with Image.open(io.BytesIO(file.content), formats=[kind]) as image:
            # Before anything is unpacked: what it says it will be.
            _check_picture(file, image, size_px, resize=resize)
            return _resized(image.convert("RGB"), size_px)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise _refusal(file, f"has a side of more than {MOST_SIDE_PX} px: cut it") from err
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as err:
        raise _refusal(file, f"is a damaged {kind}: export it again") from err


def _check_picture(file: ChipFile, image: Image.Image, size_px: int, *, resize: bool) -> None:
    _check_size(file, *image.size, size_px, resize=resize)
    deep = image.format == "PNG" and file.content[PNG_DEPTH] > 8
    if image.mode not in COLOUR_MODES or deep:
        depth = "16-bit " if deep else ""
        raise _refusal(file, f"has {depth}{image.mode} pixels, the model takes 8-bit RGB: convert")
    if len(file.content) > BYTES_PER_PIXEL * math.prod(image.size) + ASIDE_BYTES:
        raise _refusal(file, f"has {len(file.content)} bytes for {image.size} px: export it again")


def _check_size(file: ChipFile, width: int, height: int, size_px: int, *, resize: bool) -> None:
    if max(width, height) > MOST_SIDE_PX:
        raise _refusal(file, f"has {width} x {height} px, more than {MOST_SIDE_PX} a side: cut it")
    if (width, height) != (size_px, size_px) and not resize:
        raise _refusal(
            file,
            f"has {width} x {height} px, the model takes {size_px} x {size_px}: "
            "send that, or resize=true",
        )


def _resized(image: Image.Image, size_px: int) -> Pixels:
    if image.size != (size_px, size_px):
        image = image.resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _refusal(file: ChipFile, what: str) -> ServiceError:
    return ServiceError(422, f"chips: {file.name} {what}")


def _too_many() -> ServiceError:
    return ServiceError(422, f"chips: more than {MOST_CHIPS} in one request: send several")
