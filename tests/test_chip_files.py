"""Files that are no chips: each refused with a sentence, and nothing unpacked on the way."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sent_chips import chips, npy, picture
from tiny_run import SIZE_PX as S

from api.chip_files import ChipFile, read_chips
from api.problems import ServiceError


def refused(*contents, resize=False):
    """Return the sentence with which files are refused."""
    files = [ChipFile(name=f"{n}.bin", content=content) for n, content in enumerate(contents)]
    with pytest.raises(ServiceError) as refusal:
        read_chips(files, size_px=S, resize=resize)
    assert refusal.value.status == 422
    return str(refusal.value)


def header(array_header):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(array_header)) + array_header


def png_of(width, height):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"0" * 99))


ONE = chips(1)[0]
BAD = {
    "text": (b"hello", "0.bin is neither a PNG, a JPEG nor an NPY file"),
    "empty": (b"", "is neither a PNG, a JPEG nor an NPY file"),
    "GIF": (picture(ONE, "GIF"), "is neither a PNG, a JPEG nor an NPY file"),
    "size": (picture(chips(1, size=40)[0]), f"has 40 x 40 px, the model takes {S} x {S}: send"),
    "array size": (npy(chips(2, size=40)), f"has 40 x 40 px, the model takes {S} x {S}: send"),
    "grey": (picture(ONE, mode="L"), "has L pixels, the model takes 8-bit RGB"),
    "CMYK": (picture(ONE, "JPEG", mode="CMYK"), "has CMYK pixels, the model takes 8-bit RGB"),
    "cut PNG": (picture(ONE)[:-900], "is a damaged PNG: export it again"),
    "PNG's magic alone": (b"\x89PNG\r\n\x1a\n", "is a damaged PNG: export it again"),
    "cut JPEG": (picture(ONE, "JPEG")[:200], "is a damaged JPEG: export it again"),
    "bomb": (png_of(60_000, 60_000), "has a side of more than 2048 px: cut it"),
    "smaller bomb": (png_of(10_000, 10_000), "has a side of more than 2048 px: cut it"),
    "long side": (png_of(2_049, 10), "has 2049 x 10 px, more than 2048 a side: cut it"),
    "padded": (picture(ONE) + bytes(2**20 + 9000), f"bytes for ({S}, {S}) px: export it again"),
    "floats": (npy(np.zeros((1, 3, S, S))), "holds float64, the model takes uint8 (0 to 255)"),
    "objects": (npy(np.array([{}]), allow_pickle=True), "holds object, the model takes uint8"),
    "flat": (npy(np.zeros(9, np.uint8)), "holds an array (9,): send (N, 3, S, S)"),
    "no chip": (npy(chips(0)), f"holds an array (0, 3, {S}, {S}): send"),
    "four bands": (npy(np.zeros((1, 4, S, S), np.uint8)), f"holds an array (1, 4, {S}, {S}): send"),
    "cut array": (npy(chips(2))[:-1], f"has {6 * S * S - 1} bytes of values, (2, 3, {S}, {S}) are"),
    "too many": (npy(np.zeros((257, 3, S, S), np.uint8)), "more than 256 in one request"),
    "huge": (
        header(b"{'descr':'|u1','fortran_order':False,'shape':(256,3,2000000000,2000000000)}\n"),
        "has 0 bytes of values, (256, 3, 2000000000, 2000000000) are",
    ),
    "no header": (header(b"os.system('ls')\n"), "has no readable NPY header"),
    "long header": (header(b" " * 9_000), "has no readable NPY header"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_chip_is_refused_with_a_sentence_about_the_file(name):
    content, sentence = BAD[name]
    detail = refused(content)
    assert detail.startswith("chips: ")
    assert sentence in detail


def test_the_limit_of_chips_holds_over_all_files():
    assert "more than 256 in one request" in refused(npy(chips(256)), picture(ONE))
    assert "more than 256 in one request" in refused(npy(chips(200)), npy(chips(57)))


@pytest.mark.parametrize("name", ["bomb", "smaller bomb", "long side"])
def test_pictures_of_a_great_size_are_not_unpacked_to_be_resized_either(name):
    content, sentence = BAD[name]
    assert sentence in refused(content, resize=True)


def test_a_16_bit_png_is_refused_rather_than_cut_to_its_upper_half():
    stream = io.BytesIO()
    Image.fromarray(np.zeros((S, S), np.uint16)).save(stream, "PNG")
    assert "has 16-bit I;16 pixels" in refused(stream.getvalue())


@given(content=st.binary(max_size=300), magic=st.sampled_from([b"\x93NUMPY", b"\x89PNG\r\n\x1a\n"]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_whatever_raise_anything_but_a_refusal(content, magic):
    for start in (magic, magic + b"\x01\x00", b"\xff\xd8\xff"):
        with pytest.raises(ServiceError):
            read_chips([ChipFile(name="x", content=start + content)], size_px=S, resize=True)


@given(text=st.text("{}[]()'\":, -+descrfotanshpueTFl|u1<48bx#\n\\", max_size=120))
@settings(max_examples=150, deadline=None)
def test_no_header_of_an_array_raises_anything_but_a_refusal(text):
    with pytest.raises(ServiceError):
        read_chips([ChipFile(name="x", content=header(text.encode()))], size_px=S, resize=True)
