"""Every block of a scene is decoded once, and what the file does not store not at all.

What is decoded is seen by what is read of the file: GDAL reads the bytes of a block when it decodes
it, and a block that is still in its cache needs none. The cache is made far smaller than the scene.
"""

import io
from collections import Counter
from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.windows import Window
from rasters import noise, write_raster
from tiny_run import GROUND, SIZE_PX, make_buildings, make_bundle, pixel_box

from damagenet.engine.batch import assess_scenes
from damagenet.engine.work import by_place, plan_work
from damagenet.options import AssessOptions
from data_prep.footprints import read_buildings
from data_prep.opening import GDAL_SETTINGS
from data_prep.reading_order import ReadingOrder
from data_prep.scene import Scene, SceneOptions

SIDE_PX = 1024
BLOCK_PX = 128
CACHE_BYTES = 1_800_000
"""Little more than half of the scene; three rows of its blocks fit, and four do not."""
METRES = rasterio.Affine(1, 0, 270_000, 0, -1, 3_300_000)
FILES = {
    "tiled": {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX},
    "separate": {
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "interleave": "band",
    },
    "striped": {"blockysize": 16},
    "rows": {"blockysize": 1},
    "png": {"driver": "PNG"},
    "jpeg": {"driver": "JPEG", "QUALITY": 90},
}


@pytest.fixture
def read_bytes(monkeypatch):
    """Count what is read of every file that is opened as a scene: Counter of (offset, bytes)."""
    seen = Counter()

    class Counted(io.FileIO):
        def read(self, size=-1):
            seen[self.tell(), size] += 1
            return super().read(size)

    def counting(path, mode="rb", **_):
        return Counted(path, "rb")

    opened = partial(rasterio.open, opener=counting)
    watched = SimpleNamespace(open=opened, Env=rasterio.Env)
    monkeypatch.setattr("data_prep.opening.rasterio", watched)
    return seen


@pytest.fixture
def small_cache(monkeypatch):
    monkeypatch.setitem(GDAL_SETTINGS, "GDAL_CACHEMAX", CACHE_BYTES)
    monkeypatch.setattr("data_prep.reading_order.KEPT_BYTES", CACHE_BYTES * 3 // 4)
    monkeypatch.setattr("data_prep.reading_order.FINEST_STRIP_PX", BLOCK_PX)


def make_file(folder, kind, **more):
    settings = {"compress": "deflate", "interleave": "pixel"} | FILES[kind] | more
    if "driver" in settings:
        settings = FILES[kind]
    name = "scene." + settings.get("driver", "tif").lower()
    return write_raster(folder / name, noise(SIDE_PX, SIDE_PX), transform=METRES, **settings)


def block_bytes(path):
    """Return offset and size of every block of a TIFF."""
    with rasterio.open(path) as file:
        height, width = file.block_shapes[0]
        bands = (1,) if file.tags(ns="IMAGE_STRUCTURE")["INTERLEAVE"] == "PIXEL" else file.indexes
        places = [
            (column, row, band)
            for row in range(-(-file.height // height))
            for column in range(-(-file.width // width))
            for band in bands
        ]
        return {
            tuple(
                int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band) or 0)
                for what in ("OFFSET", "SIZE")
            )
            for column, row, band in places
        }


def assert_decoded_once(seen, path):
    if path.suffix == ".tif":
        blocks = {one: seen[one] for one in block_bytes(path)}
        assert set(blocks.values()) == {1}
    else:
        # Row by row from top to bottom: going back would begin at the top again.
        assert sum(size * count for (_, size), count in seen.items()) < 1.1 * path.stat().st_size


def read_all(scene, windows, batch=16):
    return [
        scene.read_chips(windows[start : start + batch], size_px=SIZE_PX)
        for start in range(0, len(windows), batch)
    ]


def scattered(count=900):
    """Return windows all over the scene, none of them near the one before it."""
    corners = np.random.default_rng(1).uniform(-10, SIDE_PX - 20, size=(count, 2))
    return [Window(float(col), float(row), 40.0, 40.0) for col, row in corners]


@pytest.mark.parametrize("kind", FILES)
def test_scattered_windows_in_reading_order_decode_each_block_once(
    tmp_path, kind, read_bytes, small_cache
):
    path, windows = make_file(tmp_path, kind), scattered()
    with Scene.open(path) as scene:
        read_bytes.clear()
        read_all(scene, [windows[n] for n in scene.reading_order.places(windows)])
    assert_decoded_once(read_bytes, path)


def test_in_the_callers_order_the_same_windows_decode_blocks_again_and_again(
    tmp_path, read_bytes, small_cache
):
    path = make_file(tmp_path, "tiled")
    with Scene.open(path) as scene:
        read_bytes.clear()
        read_all(scene, scattered())
    assert sum(read_bytes[one] for one in block_bytes(path)) > 3 * len(block_bytes(path))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("stride_m", [None, 20.0])
def test_a_grid_decodes_each_block_once(tmp_path, kind, stride_m, read_bytes, small_cache):
    path = make_file(tmp_path, kind)
    # 40 px chips are resampled, and lie across blocks.
    ground = GROUND.model_copy(update={"width_m": 40.0, "height_m": 40.0})
    with Scene.open(path, SceneOptions(chip=ground)) as scene:
        work = plan_work(scene, ground, AssessOptions(stride=stride_m), None)
        read_bytes.clear()
        for piece in range(len(work.sizes)):
            read_all(scene, [one for unit in work.units(piece) for one in unit.windows])
    assert_decoded_once(read_bytes, path)


def test_pieces_of_buildings_follow_places_and_hold_each_once(tmp_path):
    path = make_file(tmp_path, "tiled")
    shapes = [
        pixel_box(col, row, 8, 8)
        for col, row in np.random.default_rng(2).uniform(0, 1000, (1200, 2))
    ]
    buildings = read_buildings(make_buildings(tmp_path / "b.gpkg", shapes))
    with Scene.open(path) as scene:
        work = plan_work(scene, GROUND, AssessOptions(), buildings)
        placed = by_place(work, scene.reading_order)
    rows = [[unit.row for unit in placed.units(n)] for n in range(len(placed.sizes))]
    assert sorted(chain.from_iterable(rows)) == list(range(1200))
    assert rows[0] != sorted(rows[0])
    tops = [[unit.windows[0].row_off for unit in placed.units(n)] for n in range(len(placed.sizes))]
    # A piece ends anywhere in a strip of 256 px, so that it reaches into three of them.
    assert all(max(one) - min(one) < 3 * 256 for one in tops)


def test_a_very_wide_scene_is_read_in_bands_whose_strips_stay_in_the_cache():
    order = ReadingOrder(strip_px=512, band_px=40_000)
    windows = [Window(50_000, 0, 128, 128), Window(5, 9_000, 128, 128), Window(900, 40, 128, 128)]
    assert order.places([None, *windows]).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("bands", "more"),
    [(3, {"nodata": 0}), (4, {"photometric": "RGB", "ALPHA": "YES"})],
    ids=["nodata", "alpha"],
)
def test_what_is_not_stored_is_neither_read_nor_cut_into_pieces(tmp_path, bands, more, read_bytes):
    path = tmp_path / "sparse.tif"
    settings = FILES["tiled"] | {"compress": "deflate", "interleave": "pixel", "SPARSE_OK": True}
    settings |= {"driver": "GTiff", "dtype": "uint8", "count": bands, "crs": "EPSG:32615"} | more
    side = 40 * BLOCK_PX
    with rasterio.open(path, "w", width=side, height=side, transform=METRES, **settings) as file:
        file.write(
            noise(BLOCK_PX, BLOCK_PX, bands=bands),
            window=Window(17 * BLOCK_PX, 3 * BLOCK_PX, BLOCK_PX, BLOCK_PX),
        )
    with Scene.open(path) as scene:
        work = plan_work(scene, GROUND, AssessOptions(), None)
        read_bytes.clear()
        shown = [
            one
            for piece in range(len(work.sizes))
            for chips in read_all(scene, [u.windows[0] for u in work.units(piece)])
            for one in chips.valid.any(axis=(1, 2))
        ]
        touched = [one for one in block_bytes(path) if read_bytes[one]]
        empty = scene.surely_empty(Window(0, 0, 32, 32), Window(640, 128, 32, 32), size_px=SIZE_PX)
    assert empty
    assert work.count == (side // SIZE_PX) ** 2
    assert sum(work.sizes) <= 1024
    assert sum(shown) == (BLOCK_PX // SIZE_PX) ** 2
    assert len(touched) == 1


@pytest.mark.parametrize("stored", [False, True])
def test_black_of_a_file_that_says_nothing_of_it_is_no_picture_stored_or_not(tmp_path, stored):
    path = tmp_path / "black.tif"
    settings = FILES["tiled"] | {"compress": "deflate", "crs": "EPSG:32615"}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        SPARSE_OK=not stored,
        dtype="uint8",
        count=3,
        width=512,
        height=512,
        transform=METRES,
        **settings,
    ) as file:
        if stored:
            file.write(np.zeros((3, 512, 512), np.uint8))
        file.write(noise(128, 128), window=Window(0, 0, 128, 128))
    with Scene.open(path) as scene:
        work = plan_work(scene, GROUND, AssessOptions(), None)
        windows = [Window(at, at, SIZE_PX, SIZE_PX) for at in (0, 300)]
        chips = scene.read_chips(windows, size_px=SIZE_PX)
        skipped = scene.surely_empty(windows[1], windows[1], size_px=SIZE_PX)
    assert work.count == 256
    assert skipped is not stored
    assert chips.valid[0].all()
    assert not chips.valid[1].any()


def test_under_a_mask_nothing_is_decoded_but_the_mask(tmp_path, read_bytes):
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[:200, :200] = 255
    path = make_file(tmp_path, "tiled", mask=mask)
    windows = [
        Window(col, row, SIZE_PX, SIZE_PX)
        for row in range(0, SIDE_PX, SIZE_PX)
        for col in range(0, SIDE_PX, SIZE_PX)
    ]
    with Scene.open(path) as scene:
        read_bytes.clear()
        chips = read_all(scene, windows, batch=4)
    assert sum(one.valid.sum() for one in chips) == 200 * 200
    assert sum(read_bytes[one] for one in block_bytes(path)) == 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return folder


def test_scattered_buildings_come_back_in_the_callers_order(tmp_path, bundle, monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 40)
    monkeypatch.setattr("damagenet.engine.by_place.SPAN_UNITS", 70)
    path = make_file(tmp_path, "tiled")
    corners = np.random.default_rng(3).uniform(-20, SIDE_PX, (300, 2))
    shapes = [pixel_box(col, row, 6 + n % 50, 8) for n, (col, row) in enumerate(corners)]
    file = make_buildings(tmp_path / "b.gpkg", shapes)
    options = AssessOptions(model=str(bundle), format=("csv",), buildings=file, device="cpu")
    result = assess_scenes([path], tmp_path / "out", options)
    parts = list(result.assessments[0].parts())
    rows = pd.concat(parts)["row"]
    assert len(parts) > 3
    assert rows.is_monotonic_increasing
    assert rows.is_unique
    sorted_file = make_buildings(tmp_path / "s.gpkg", sorted(shapes, key=lambda s: s.bounds[::-1]))
    other = assess_scenes(
        [path], tmp_path / "other", options.model_copy(update={"buildings": sorted_file})
    )
    by_lon_lat = [
        pd.concat(list(one.assessments[0].parts())).sort_values(["lon", "lat", "ground_m"])
        for one in (result, other)
    ]
    np.testing.assert_allclose(
        *(table["p_damaged"].to_numpy(float) for table in by_lon_lat), atol=1e-5
    )
    assert not (tmp_path / "out" / "scene" / "parts" / "by-place").exists()
