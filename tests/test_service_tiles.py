"""Map tiles and chips of finished jobs."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from fastapi.testclient import TestClient
from finished_jobs import (
    BLUE,
    GREEN,
    RED,
    add_job,
    assessed,
    flat_scene,
    served_on,
    set_job,
    tiny_bundle,
)
from PIL import Image
from pyproj import Transformer
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window
from rasters import noise, write_raster
from tiny_run import EAST, NORTH, UTM

from api.app import create_app
from api.map_index import read_map_index
from api.maps import make_map_images
from api.maptiles import View, deepest_zoom
from api.settings import ServiceSettings
from damagenet.outputs.style import RAMP
from data_prep.scene import Scene

PLACES = Transformer.from_crs(UTM, 4326, always_xy=True)
ZOOM = 18


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(ServiceSettings(data_dir=tmp_path_factory.mktemp("service")))


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def job(app, bundle, tmp_path_factory):
    """Two scenes of the same ground: a red one with a hole, and a blue one that reaches further."""
    folder = tmp_path_factory.mktemp("scenes")
    red = flat_scene(folder / "red.tif", RED, hole=(slice(0, 40), slice(0, 40)))
    blue = flat_scene(folder / "blue.tif", BLUE, size_px=(128, 192))
    return add_job(
        app.state.service, lambda root: assessed(root, bundle, [red, blue], on_error="fail")[1]
    )


def tile_at(east: float, north: float, zoom: int = ZOOM) -> tuple[int, int, int, int, int]:
    """Return zoom, column and row of the tile at a place in UTM, and the place in its pixels."""
    lon, lat = PLACES.transform(east, north)
    x = (lon + 180) / 360 * 2**zoom
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom
    return zoom, int(x), int(y), int(x % 1 * 256), int(y % 1 * 256)


def address(job: str, layer: str, *tile: int, ending: str = "png") -> str:
    z, x, y = tile
    return f"/v1/assessments/{job}/tiles/{layer}/tiles/WebMercatorQuad/{z}/{x}/{y}.{ending}"


def colour_at(client, job, layer, east, north, **asked) -> np.ndarray:
    """Return the RGBA that a map shows at a place in UTM."""
    z, x, y, column, row = tile_at(east, north)
    answer = client.get(address(job, layer, z, x, y), params=asked)
    assert answer.status_code == 200, answer.text
    return np.array(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[row, column]


def near(colour, wanted) -> bool:
    return bool(np.abs(np.asarray(colour, int)[:3] - wanted).max() <= 12)


def test_the_first_scene_is_seen_and_the_next_fills_its_hole(client, job):
    assert near(colour_at(client, job, "imagery", EAST + 80, NORTH - 60), RED)
    assert near(colour_at(client, job, "imagery", EAST + 20, NORTH - 20), BLUE)
    assert near(colour_at(client, job, "imagery", EAST + 160, NORTH - 60), BLUE)
    assert near(colour_at(client, job, "imagery", EAST + 80, NORTH - 60, scene="blue"), BLUE)


def test_where_there_is_no_picture_a_tile_is_transparent_and_white_as_jpeg(client, job):
    assert colour_at(client, job, "imagery", EAST + 300, NORTH - 60)[3] == 0
    assert colour_at(client, job, "imagery", EAST + 20, NORTH - 20, scene="red")[3] == 0
    for ending, transparent in (("png", True), ("webp", True), ("jpg", False)):
        answer = client.get(address(job, "imagery", 18, 5, 5, ending=ending))
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (256, 256)
        assert near(picture.convert("RGB").getpixel((9, 9)), (255,) * 3) or transparent
        assert ("A" in picture.getbands()) == transparent


def test_what_is_no_tile_layer_or_scene_is_not_found(client, job):
    for path in (
        address(job, "imagery", 3, 8, 0),
        address(job, "imagery", 99, 0, 0),
        address(job, "imagery", 3, -1, 0),
        address(job, "pre", 3, 0, 0),
        f"{address(job, 'imagery', 3, 0, 0)}?scene=green",
        f"{address(job, 'imagery', 3, 0, 0)}?scene=../../red",
        address("0" * 32, "imagery", 3, 0, 0),
    ):
        assert client.get(path).status_code == 404, path
    assert client.get(address(job, "http:%2F%2Fx", 3, 0, 0)).status_code in (404, 422)


def test_a_tile_without_a_file_type_is_jpeg_where_all_is_seen(client, job):
    z, x, y, _, _ = tile_at(EAST + 60, NORTH - 60, zoom=22)
    full = client.get(address(job, "imagery", z, x, y).removesuffix(".png"))
    empty = client.get(address(job, "imagery", 18, 5, 5).removesuffix(".png"))
    assert full.headers["content-type"] == "image/jpeg"
    assert empty.headers["content-type"] == "image/png"
    assert full.headers["content-crs"].endswith("/EPSG/0/3857>")


@pytest.mark.parametrize("ending", ["tif", "npy", "jp2", "exe"])
def test_other_file_types_are_refused(client, job, ending):
    answer = client.get(address(job, "imagery", 3, 0, 0, ending=ending))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_more_clients_than_drawing_places_all_get_their_tiles(client, job):
    z, x, y, _, _ = tile_at(EAST + 80, NORTH - 60)
    paths = [f"{address(job, 'imagery', z, x, y)}?tilesize={size}" for size in range(100, 140)]
    with ThreadPoolExecutor(40) as crowd:
        answers = list(crowd.map(client.get, paths))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["etag"] for answer in answers}) == 40


def test_a_large_tile_shows_the_same_ground_in_512_pixels(client, job):
    z, x, y, _, _ = tile_at(EAST + 80, NORTH - 60)
    large = client.get(f"{address(job, 'imagery', z, x, y)}?tilesize=512")
    small = client.get(address(job, "imagery", z, x, y))
    pictures = [Image.open(io.BytesIO(one.content)).convert("RGBA") for one in (large, small)]
    assert [one.size for one in pictures] == [(512, 512), (256, 256)]
    for size in (0, 1025, 10**9):
        refused = client.get(f"{address(job, 'imagery', z, x, y)}?tilesize={size}")
        assert (refused.status_code, "tilesize" in refused.text) == (422, True)
    means = [np.array(one)[..., 3].mean() for one in pictures]
    assert means[0] == pytest.approx(means[1], abs=2)


def test_a_browser_that_has_a_tile_is_told_so(client, job):
    z, x, y, _, _ = tile_at(EAST + 80, NORTH - 60)
    path = address(job, "imagery", z, x, y)
    first = client.get(path)
    assert "max-age" in first.headers["cache-control"]
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    other = client.get(f"{path}?scene=blue", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


def test_damage_has_the_colours_of_the_style_and_is_clear_elsewhere(client, job):
    items = client.get(f"/v1/assessments/{job}/items?limit=1000").json()["features"]
    unit = next(one for one in items if one["properties"]["scenes"] == "red")
    lon, lat = unit["properties"]["lon"], unit["properties"]["lat"]
    east, north = PLACES.transform(lon, lat, direction="INVERSE")
    p, stops = unit["properties"]["p_damaged"], [value for value, _ in RAMP]
    bands = [[int(text[n : n + 2], 16) for _, text in RAMP] for n in (1, 3, 5)]
    colour = colour_at(client, job, "damage", east, north)
    assert near(colour, [np.interp(p, stops, band) for band in bands])
    assert colour[3] == 255
    assert colour_at(client, job, "damage", EAST + 300, NORTH)[3] == 0


def test_tilejson_tells_bounds_zooms_and_the_address_of_tiles(client, job):
    told = client.get(f"/v1/assessments/{job}/tiles/imagery/tilejson.json?scene=blue").json()
    west, south, east, north = told["bounds"]
    lon, lat = PLACES.transform(EAST + 96, NORTH - 64)
    assert west < lon < east
    assert south < lat < north
    assert (east - west) * 111_320 * np.cos(np.radians(lat)) == pytest.approx(192, rel=0.05)
    assert told["maxzoom"] == ZOOM - 1 or told["maxzoom"] == ZOOM
    assert told["georeferenced"]
    z, x, y, column, row = tile_at(EAST + 80, NORTH - 60)
    tile = client.get(told["tiles"][0].format(z=z, x=x, y=y))
    assert tile.headers["content-type"] == "image/webp"
    assert near(Image.open(io.BytesIO(tile.content)).convert("RGB").getpixel((column, row)), BLUE)


def test_an_unfinished_job_has_no_map_yet_and_a_failed_one_never(app, client, job):
    path = address(job, "imagery", 3, 0, 0)
    set_job(app.state.service, job, status="running")
    running = client.get(path)
    set_job(app.state.service, job, status="failed")
    failed = client.get(path)
    set_job(app.state.service, job, status="successful")
    assert (running.status_code, failed.status_code) == (409, 404)
    assert "not finished" in running.json()["detail"]


def test_a_map_whose_files_go_while_it_is_asked_for_is_not_found(app, client, bundle, tmp_path):
    scene = flat_scene(tmp_path / "gone.tif", GREEN)
    job = add_job(app.state.service, lambda root: assessed(root, bundle, [scene])[1])
    folder = app.state.service.folders.job(job)
    (folder.maps / "gone.imagery.tif").unlink()
    (folder.results / "damage.parquet").unlink()
    z, x, y, _, _ = tile_at(EAST + 50, NORTH - 50)
    for path in (address(job, "imagery", z, x, y), f"/v1/assessments/{job}/chips/u.png"):
        assert client.get(path).status_code == 404
    folder.delete()
    assert client.get(address(job, "damage", z, x, y)).status_code == 404


def test_another_callers_map_is_not_found(app, client, job):
    set_job(app.state.service, job, owner="somebody else")
    answers = [
        client.get(f"/v1/assessments/{job}{path}")
        for path in (
            "/tiles/imagery/tiles/WebMercatorQuad/3/0/0.png",
            "/tiles/WMTSCapabilities.xml",
            "/chips/x.png",
        )
    ]
    set_job(app.state.service, job, owner="local")
    assert {answer.status_code for answer in answers} == {404}


# ---- chips


def test_a_chip_shows_the_ground_of_the_verdict(client, job):
    units = client.get(f"/v1/assessments/{job}/items?limit=1000").json()["features"]
    for stem, colour in (("red", RED), ("blue", BLUE)):
        unit = [one["id"] for one in units if one["properties"]["scenes"] == stem][-1]
        answer = client.get(f"/v1/assessments/{job}/chips/{unit}.png?size=64")
        picture = Image.open(io.BytesIO(answer.content)).convert("RGB")
        assert picture.size == (64, 64)
        assert near(picture.getpixel((32, 32)), colour)


def test_a_chip_of_no_unit_or_of_no_picture_before_is_not_found(client, job):
    units = client.get(f"/v1/assessments/{job}/items?limit=1").json()["features"]
    assert client.get(f"/v1/assessments/{job}/chips/none.png").status_code == 404
    path = f"/v1/assessments/{job}/chips/{units[0]['id']}.png"
    assert client.get(f"{path}?picture=pre").status_code == 404
    assert client.get(f"{path}?size=9999").status_code == 422


# ---- pictures for the map


def test_deep_pixels_look_on_the_map_as_the_network_saw_them(bundle, tmp_path):
    pixels = (noise(12, 16, seed=3).repeat(8, axis=1).repeat(8, axis=2) * 16.0).astype(np.uint16)
    grid = Affine(1, 0, EAST, 0, -1, NORTH)
    path = write_raster(tmp_path / "deep.tif", pixels + 1, transform=grid, crs=UTM)
    folder, _ = assessed(tmp_path / "job", bundle, [path])
    with Scene.open(path) as scene:
        seen = scene.read_chips([Window(0, 0, 96, 96)], size_px=96).images[0][0]
    with rasterio.open(folder.maps / "deep.imagery.tif") as shown:
        picture = shown.read(window=Window(0, 0, 96, 96))
        assert (shown.count, shown.dtypes[0], shown.crs) == (
            3,
            "uint8",
            rasterio.CRS.from_string(UTM),
        )
    assert np.abs(picture.astype(int) - seen).mean() < 10


def test_a_scene_that_is_such_a_cog_already_is_linked(bundle, tmp_path):
    flat_scene(tmp_path / "plain.tif", GREEN)
    copy_raster(tmp_path / "plain.tif", tmp_path / "cog.tif", driver="COG", compress="JPEG")
    holed = flat_scene(tmp_path / "holed.tif", GREEN, hole=(slice(0, 8), slice(0, 8)))
    folder, _ = assessed(tmp_path / "job", bundle, [tmp_path / "cog.tif", holed])
    inodes = [
        (tmp_path / f"{name}.tif").stat().st_ino
        == (folder.maps / f"{name}.imagery.tif").stat().st_ino
        for name in ("cog", "holed")
    ]
    assert inodes == [True, False]


def test_made_pictures_are_kept_when_a_killed_job_goes_on(bundle, tmp_path):
    folder, _ = assessed(tmp_path / "job", bundle, [flat_scene(tmp_path / "a.tif", GREEN)])
    picture = folder.maps / "a.imagery.tif"
    before, index = picture.stat().st_mtime_ns, read_map_index(folder)
    (folder.maps / "maps.json").unlink()
    make_map_images(folder)
    assert picture.stat().st_mtime_ns == before
    assert read_map_index(folder) == index
    assert sorted(path.name for path in folder.maps.iterdir()) == ["a.imagery.tif", "maps.json"]


def test_the_picture_before_is_cut_to_the_scene(app, client, tmp_path):
    pair = tiny_bundle(tmp_path / "pair", inputs=("post", "pre"))
    post = flat_scene(tmp_path / "post.tif", RED)
    pre = flat_scene(
        tmp_path / "pre.tif", BLUE, east=EAST - 200, north=NORTH + 100, size_px=(400, 500)
    )
    job = add_job(app.state.service, lambda root: assessed(root, pair, [post], pre=pre)[1])
    maps = app.state.service.folders.job(job).maps
    with rasterio.open(maps / "post.pre.tif") as before, rasterio.open(post) as after:
        assert before.bounds == after.bounds
    assert near(colour_at(client, job, "pre", EAST + 50, NORTH - 50), BLUE)
    assert near(colour_at(client, job, "imagery", EAST + 50, NORTH - 50), RED)
    unit = client.get(f"/v1/assessments/{job}/items?limit=1").json()["features"][0]["id"]
    chip = client.get(f"/v1/assessments/{job}/chips/{unit}.png?picture=pre&size=32")
    assert near(Image.open(io.BytesIO(chip.content)).convert("RGB").getpixel((16, 16)), BLUE)


def test_a_picture_without_georeference_is_placed_and_said_to_be(app, client, bundle, tmp_path):
    plain = flat_scene(tmp_path / "photo.tif", GREEN, crs=None, transform=None)
    job = add_job(
        app.state.service, lambda root: assessed(root, bundle, [plain], pixel_size=1.0)[1]
    )
    told = client.get(f"/v1/assessments/{job}/tiles/damage/tilejson.json").json()
    metre = 360 / 40_075_016.7
    assert told["bounds"] == pytest.approx([0, -96 * metre, 128 * metre, 0], rel=1e-3)
    assert not told["georeferenced"]
    view = View.of_tile(17, 2**16, 2**16, size_px=256)
    for layer in ("imagery", "damage"):
        tile = client.get(address(job, layer, 17, 2**16, 2**16))
        alpha = np.array(Image.open(io.BytesIO(tile.content)).convert("RGBA"))[..., 3]
        assert (alpha > 0).sum() * (view.side / 256) ** 2 == pytest.approx(96 * 128, rel=0.05)
    unit = client.get(f"/v1/assessments/{job}/items?limit=1").json()["features"][0]
    assert unit["geometry"]["coordinates"][0][0][0] == pytest.approx(
        [32 * metre, -32 * metre], abs=1e-7
    )
    chip = client.get(f"/v1/assessments/{job}/chips/{unit['id']}.png?size=32")
    assert near(Image.open(io.BytesIO(chip.content)).convert("RGB").getpixel((16, 16)), GREEN)


def test_views_know_ground_across_the_antimeridian():
    view = View.of_tile(6, 0, 32, size_px=256)
    assert view.shows((179.0, -10.0, -179.0, 10.0))
    assert not view.shows((170.0, -10.0, 179.0, 10.0))
    assert deepest_zoom(360 / 256 / 2**18) == 18


# ---- WMTS, read by GDAL


READ_WMTS = """
import json, sys, rasterio
address, *layers = sys.argv[1:]
with rasterio.Env() as env:
    if not {"WMTS", "HTTP"} <= set(env.drivers()):
        sys.exit(77)
for layer in layers:
    with rasterio.open(f"WMTS:{address},layer={layer}") as file:
        pixels = file.read(out_shape=(file.count, 32, 48))
        print(json.dumps({"crs": str(file.crs), "bounds": file.bounds,
                          "middle": pixels[:, 16, 24].tolist()}))
"""


def test_gdal_reads_the_wmts(app, job):
    with served_on(app) as base:
        address = f"{base}/v1/assessments/{job}/tiles/WMTSCapabilities.xml"
        # In a process of its own: a service takes the drivers away.
        run = subprocess.run(
            [sys.executable, "-c", READ_WMTS, address, "imagery", "damage"],
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode == 77:
        pytest.skip("this GDAL has no WMTS driver, or cannot ask the network")
    assert run.returncode == 0, run.stderr
    imagery, damage = (json.loads(line) for line in run.stdout.splitlines())
    assert imagery["crs"] == damage["crs"] == "EPSG:3857"
    assert near(imagery["middle"], RED)
    assert imagery["middle"][3] == damage["middle"][3] == 255
