"""Files that were sent are told by their content, and refused with a reason before any harm."""

import json
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from rasters import UTM, box, frame_of, noise, smooth, write_raster

from api.folders import JobFolder
from api.inspection import inspect_upload
from api.problems import ServiceError
from api.sentences import without_library
from api.settings import ServiceSettings
from api.tiff_directories import count_directories
from damagenet.errors import FootprintError, SceneError
from data_prep.scene import Scene
from data_prep.vectors import read_vectors

SETTINGS = ServiceSettings()


def refusal(path: Path, role: str, settings: ServiceSettings = SETTINGS) -> tuple[int, str]:
    """Return status and sentence by which a file is refused; no folder is ever named."""
    with pytest.raises(ServiceError) as caught:
        inspect_upload(path, role, settings)
    assert str(path.parent) not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.status, str(caught.value)


def tiff(entries: list[tuple[int, int, list[int]]], tail: bytes = b"") -> bytes:
    """Return a little-endian TIFF of one directory: (tag, type, values), then the tail."""
    size = {1: 1, 3: 2, 4: 4}
    code = {1: "B", 3: "H", 4: "I"}
    place = 8 + 2 + 12 * len(entries) + 4
    rows, extra = b"", b""
    for tag, kind, values in sorted(entries):
        data = struct.pack(f"<{len(values)}{code[kind]}", *values)
        if len(data) > 4:
            data, extra = struct.pack("<I", place + len(extra)), extra + data
        rows += struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    assert all(kind in size for _, kind, _ in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + b"\0" * 4 + extra + tail


def header(width: int, height: int, side: int) -> bytes:
    """Return a TIFF that claims to be an RGB picture of this size, in tiles of one side."""
    return tiff(
        [
            (256, 4, [width]),
            (257, 4, [height]),
            (258, 3, [8, 8, 8]),
            (259, 3, [8]),
            (262, 3, [2]),
            (277, 3, [3]),
            (284, 3, [1]),
            (322, 4, [side]),
            (323, 4, [side]),
            (324, 4, [300]),
            (325, 4, [200]),
        ],
        bytes(400),
    )


# Images


@pytest.mark.parametrize("name", ["scene.tif", "scene.png", "scene.jpg"])
def test_pictures_are_taken_and_stay_where_they_are(tmp_path, name):
    driver = {"tif": "GTiff", "png": "PNG", "jpg": "JPEG"}[name[-3:]]
    place = {} if driver == "GTiff" else {"transform": None, "crs": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        path = write_raster(tmp_path / name, smooth(64, 64), driver=driver, **place)
    assert inspect_upload(path, "image", SETTINGS) == path
    assert list(tmp_path.iterdir()) == [path]


def test_every_encoding_at_hand_is_taken(harvey_data):
    for path in sorted((harvey_data / "edge_rasters" / "encodings").glob("*.tif")):
        assert inspect_upload(path, "image", SETTINGS) == path


@pytest.mark.parametrize(
    ("name", "words"),
    [("90_truncated_half.tif", "truncated"), ("92_zero_bytes.tif", "is empty, 0 bytes")],
)
def test_the_broken_files_at_hand_are_refused(harvey_data, name, words):
    status, sentence = refusal(harvey_data / "edge_rasters" / "broken" / name, "image")
    assert status == 422
    assert words in sentence


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scene.png", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("scene.tif", "<VRTDataset><SourceFilename>/etc/passwd</SourceFilename></VRTDataset>"),
        ("scene.jpg", "<!doctype html><script>alert(1)</script>"),
        ("scene.tif", "#!/bin/sh\necho\n"),
    ],
)
def test_what_only_calls_itself_a_picture_is_refused(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    status, sentence = refusal(path, "image")
    assert status == 422
    assert sentence == f"{name} is of another kind; image takes: GeoTIFF, PNG, JPEG"


def test_a_sidecar_is_no_picture_even_if_it_is_a_tiff(tmp_path):
    path = write_raster(tmp_path / "scene.tif.ovr", smooth(32, 32))
    assert "its name does not say" in refusal(path, "image")[1]


def test_vectors_are_no_image_and_pictures_no_buildings(tmp_path):
    picture = write_raster(tmp_path / "scene.tif", smooth(32, 32))
    frame_of([box(0, 0, 8, 8)]).to_file(tmp_path / "houses.gpkg")
    assert "is a GeoTIFF; buildings takes" in refusal(picture, "buildings")[1]
    assert "is a GeoPackage; image takes" in refusal(tmp_path / "houses.gpkg", "image")[1]
    assert inspect_upload(picture, "exclude", SETTINGS) == picture


def test_more_pixels_than_the_limit_are_refused_by_its_name(tmp_path):
    path = write_raster(tmp_path / "scene.tif", smooth(40, 50))
    status, sentence = refusal(path, "image", ServiceSettings(max_pixels=1999))
    assert status == 413
    assert "has 50 x 40 pixels, more than 1,999 (max_pixels)" in sentence


@pytest.mark.parametrize("side", [2**31 - 1, 10**6])
def test_a_header_that_claims_a_world_of_pixels_is_refused(tmp_path, side):
    path = tmp_path / "bomb.tif"
    path.write_bytes(header(side, side, 256))
    assert refusal(path, "image")[0] in (413, 422)


def test_a_header_with_next_to_no_bytes_behind_it_is_refused(tmp_path):
    path = tmp_path / "bomb.tif"
    profile = {"driver": "GTiff", "width": 50_000, "height": 50_000, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", **profile, tiled=True, blockxsize=4096, blockysize=4096, sparse_ok=True,
        crs="EPSG:32615", transform=UTM,
    ):  # fmt: skip
        pass
    status, sentence = refusal(path, "image")
    assert status == 422
    assert "claims 7.5 GB of pixels in" in sentence


def test_a_block_that_decodes_into_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.tif"
    path.write_bytes(header(30_000, 30_000, 30_000))
    status, sentence = refusal(path, "image")
    assert status == 413
    assert "MB decoded, more than 256 MB" in sentence


def test_no_library_speaks_in_a_refusal(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + bytes(100))
    sentence = "scene.tif cannot be read, it is damaged or incomplete: copy it again"
    assert refusal(path, "image") == (422, sentence)


def test_what_a_job_says_of_a_file_that_breaks_amid_it_quotes_no_library(tmp_path):
    folder = JobFolder(root=tmp_path / "jobs" / "0")
    path = folder.inputs("image") / "scene.tif"
    path.parent.mkdir(parents=True)
    grid = {"transform": UTM, "crs": "EPSG:32615"}
    write_raster(path, noise(64, 64, seed=0), compress="deflate", **grid)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2_000] + bytes(2_000))
    with pytest.raises(SceneError) as caught, Scene.open(path) as scene:
        scene.read_chips([Window(0, 0, 64, 64)], size_px=64)
    assert "(" in str(caught.value)
    said = folder.public(json.dumps([str(caught.value), "beside (it): all", str(caught.value)]))
    sentence = "scene.tif cannot be read, it is damaged or incomplete: copy it again"
    assert json.loads(said) == [sentence, "beside (it): all", sentence]


@pytest.mark.parametrize("name", ["houses.geojson", "houses.gpkg", "houses.parquet", "houses.csv"])
def test_of_vectors_that_cannot_be_read_no_library_speaks(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"a,b\n1,2\n3,4,5,6\n" if name.endswith("csv") else b"{" + bytes(40))
    with pytest.raises(FootprintError) as caught:
        read_vectors(path)
    assert "(" in str(caught.value)
    assert "(" not in without_library(str(caught.value))


def test_blocks_of_single_pixels_are_refused(tmp_path):
    path = tmp_path / "bomb.tif"
    path.write_bytes(header(100_000, 100_000, 16))
    assert refusal(path, "image")[0] in (413, 422)


def test_a_picture_of_a_thousand_bands_is_refused(tmp_path):
    path = write_raster(tmp_path / "scene.tif", np.zeros((65, 8, 8), np.uint8))
    assert "has 65 bands, more than 64" in refusal(path, "image")[1]


@pytest.mark.parametrize(
    ("width", "height", "interlaced"), [(2**31 - 1, 2**31 - 1, 0), (60_000, 60_000, 1)]
)
def test_a_png_that_would_need_gigabytes_is_refused(tmp_path, width, height, interlaced):
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    path = tmp_path / "bomb.png"
    data = zlib.compress(bytes(1000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    assert refusal(path, "image")[0] in (413, 422)


def chain(pictures: int, *, leads_back: bool = False) -> bytes:
    """Return a TIFF of this many pictures of 16 x 16 grey pixels, one after the other."""
    first, size = 264, 2 + 12 * 9 + 4
    data = b"II*\0" + struct.pack("<I", first) + bytes(first - 8)
    for number in range(pictures):
        following = first + (number + 1) * size if number < pictures - 1 else 0
        tags = ((256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16))
        rows = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in (*tags, (279, 256)))
        data += struct.pack("<H", 9) + b"".join(rows)
        data += struct.pack("<I", first if leads_back and not following else following)
    return data


def test_a_tiff_of_many_pictures_is_refused_before_a_library_walks_along_them(tmp_path):
    path = tmp_path / "pages.tif"
    path.write_bytes(chain(64))
    assert inspect_upload(path, "image", SETTINGS) == path
    path.write_bytes(chain(65))
    assert refusal(path, "image") == (
        413,
        "pages.tif holds more than 64 pictures: send one scene a file",
    )


def test_a_tiff_whose_pictures_lead_in_a_circle_is_counted_once(tmp_path):
    path = tmp_path / "circle.tif"
    path.write_bytes(chain(3, leads_back=True))
    assert count_directories(path, 64) == 3
    path.write_bytes(b"II*\0" + struct.pack("<I", 2**32 - 1) + bytes(8))
    assert count_directories(path, 64) == 1


def test_the_pictures_of_a_bigtiff_are_counted_too(tmp_path):
    path = write_raster(tmp_path / "big.tif", smooth(600, 600), BIGTIFF="YES", tiled=True)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert count_directories(path, 64) == 3
    assert count_directories(path, 1) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_spoilt_header_is_taken_or_refused_but_nothing_else(tmp_path, seed):
    random = np.random.default_rng(seed)
    path = write_raster(tmp_path / "scene.tif", smooth(100, 100), compress="deflate")
    whole, refused = path.read_bytes(), []
    for _ in range(40):
        spoilt = bytearray(whole)
        for place in random.integers(4, 400, 4):
            spoilt[place] = random.integers(0, 256)
        path.write_bytes(spoilt)
        try:
            inspect_upload(path, "image", SETTINGS)
        except ServiceError as err:
            refused.append((err.status, str(err)))
    assert {status for status, _ in refused} <= {413, 415, 422}
    assert all("scene.tif" in said and str(tmp_path) not in said for _, said in refused)
