"""Scenes at addresses: read by ranges, from the list alone, and refused in one sentence."""

import json
import sys
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from range_server import range_server
from rasterio.windows import Window
from rasters import noise, write_raster
from tiny_run import make_bundle, make_scene

import data_prep.remote
from damagenet.addresses import remote_path
from damagenet.card import ChipGround
from damagenet.cli import main
from damagenet.engine.fingerprints import scene_sha256
from damagenet.errors import SceneError
from data_prep.opening import open_raster
from data_prep.preflight import inspect_scene
from data_prep.scene import Scene, SceneOptions

SECRET = "sig=SECRET"


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "scene.tif"
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    return write_raster(path, noise(2048, 2048), **tiles)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(data_prep.remote, "BACK_OFF_S", 0.01)
    with range_server() as running:
        yield running


def opened(address: str, *allowed: str) -> Scene:
    return Scene.open(remote_path(address), SceneOptions(allow_url=allowed))


def refusal(address: str, *allowed: str) -> str:
    with pytest.raises(SceneError) as caught, opened(address, *allowed) as scene:
        scene.read_chips([Window(0, 0, 64, 64)], size_px=64)
    assert "SECRET" not in str(caught.value)
    return str(caught.value)


def test_a_chip_is_read_by_ranges_and_is_that_of_the_file(server, scene_file):
    address = server.add("a/scene.tif", scene_file)
    windows = [Window(700, 800, 64, 64)]
    with opened(address, server.url) as scene, Scene.open(scene_file) as local:
        chip, same = (one.read_chips(windows, size_px=64) for one in (scene, local))
    assert (chip.images[0] == same.images[0]).all()
    assert server.sent("a/scene.tif") < scene_file.stat().st_size / 20
    assert {one.name for one in server.asked()} == {"a/scene.tif"}, "no side file is asked for"


def test_a_signed_address_is_read_with_its_query_by_get_alone(server, scene_file):
    address = server.add("a/scene.tif", scene_file)
    server.tell(heads=False)
    with opened(f"{address}?{SECRET}", server.url) as scene:
        scene.read_chips([Window(0, 0, 64, 64)], size_px=64)
    assert {(one.method, one.query) for one in server.asked()} == {("GET", SECRET)}


def test_without_a_list_nothing_is_asked(server, scene_file):
    address = server.add("a/scene.tif", scene_file)
    message = refusal(f"{address}?{SECRET}", server.url + "b/")
    assert message.startswith(f"{address} is an address, which is not read unasked")
    assert f"--allow-url {server.url}a/" in message
    assert not server.asked()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "does not exist on its server: check the address"),
        (403, "is not given out by its server (403): set credentials"),
        (401, "is not given out by its server (401)"),
        (400, "its server answers 400"),
        (503, "its server answers 503, 3 times"),
    ],
)
def test_what_a_server_answers_is_said_in_a_sentence(server, scene_file, status, said):
    address = server.add("scene.tif", scene_file)
    server.tell(statuses={"scene.tif": [status]})
    assert said in refusal(f"{address}?{SECRET}", server.url)


def test_a_server_that_stumbles_is_asked_again(server, scene_file, monkeypatch):
    monkeypatch.setitem(data_prep.remote.REMOTE_SETTINGS, "GDAL_HTTP_RETRY_DELAY", 0.01)
    address = server.add("scene.tif", scene_file)
    server.tell(statuses={"scene.tif": [503, 200, 503, 429, 200]})
    with opened(address, server.url) as scene:
        assert scene.width == 2048


def test_a_scene_that_is_withdrawn_while_it_is_read_is_refused_without_its_secret(
    server, scene_file
):
    address = server.add("scene.tif", scene_file)
    server.tell(statuses={"scene.tif": [200] * 4 + [403]})
    assert "is not given out by its server" in refusal(f"{address}?{SECRET}", server.url)


def test_a_redirect_is_not_followed_even_where_it_leads_to_what_is_allowed(server, scene_file):
    with range_server() as other:
        server.tell(moved={"scene.tif": other.add("scene.tif", scene_file) + f"?{SECRET}"})
        message = refusal(server.url + "scene.tif", server.url, other.url)
        assert f"sends on to {other.url}scene.tif, which is not followed" in message
        assert not other.asked()


def test_a_server_without_ranges_is_not_downloaded(server, scene_file):
    address = server.add("scene.tif", scene_file)
    server.tell(ranges=False)
    assert "serves no ranges, so that it could only be read as a whole" in refusal(
        address, server.url
    )
    assert len(server.asked()) == 1


def test_a_page_to_log_in_and_an_empty_file_are_no_scenes(server):
    server.add("page.tif", b"<html>Please log in to go on</html>")
    server.add("empty.tif", b"")
    assert "is no GeoTIFF, it begins with b'<html>" in refusal(server.url + "page.tif", server.url)
    assert "is empty (zero bytes)" in refusal(server.url + "empty.tif", server.url)


def test_a_file_that_ends_too_early_is_refused_where_it_does(server, scene_file):
    server.add("scene.tif", scene_file.read_bytes()[:100_000])
    assert "scene.tif cannot be read (TIFFReadEncodedTile" in refusal(
        server.url + "scene.tif", server.url
    )


def test_a_server_that_is_not_there_is_said(scene_file, monkeypatch):
    monkeypatch.setattr(data_prep.remote, "BACK_OFF_S", 0.01)
    with range_server() as gone:
        address = gone.add("scene.tif", scene_file)
    assert "its server cannot be reached (Connection refused), 3 times" in refusal(
        address, gone.url
    )


def test_the_fingerprint_follows_the_servers_tag_and_without_one_the_index(
    server, scene_file, tmp_path
):
    other = write_raster(tmp_path / "o.tif", noise(2048, 2048, seed=1), tiled=True)
    address = remote_path(server.add("scene.tif", scene_file))
    tagged = scene_sha256(address)
    assert scene_sha256(remote_path(f"{address}?{SECRET}")) == tagged
    assert server.sent("scene.tif") == 2 * 16, "only the first bytes are asked for"
    server.tell(tags=False)
    untagged = scene_sha256(address)
    assert scene_sha256(address) == untagged != tagged
    server.add("scene.tif", other)
    assert scene_sha256(address) != untagged
    server.tell(tags=True)
    assert scene_sha256(address) != tagged


def test_inspect_describes_a_remote_scene(server, scene_file):
    address = server.add("scene.tif", scene_file)
    opening = SceneOptions(allow_url=(server.url,))
    report = inspect_scene(remote_path(f"{address}?{SECRET}"), opening, ChipGround())
    local = inspect_scene(scene_file, opening, ChipGround())
    assert report.problem is None
    assert (report.width, report.cog, report.chips) == (local.width, local.cog, local.chips)
    assert "SECRET" not in repr(report)


def test_assess_reads_an_address_knows_it_again_and_writes_no_secret(
    server, tmp_path, capfd, monkeypatch
):
    make_bundle(tmp_path / "toy")
    address = server.add("h/scene.tif", make_scene(tmp_path / "scene.tif"))
    out = tmp_path / "out"
    line = ["damagenet", "assess", f"{address}?{SECRET}", "-o", str(out), "--format", "csv,html"]
    line += ["--model", str(tmp_path / "toy"), "--allow-url", server.url]
    monkeypatch.setattr(sys, "argv", line)
    for _ in range(2):
        main.app(line[1:], standalone_mode=False)
    written = [path for path in out.rglob("*") if path.is_file()]
    assert "damage.csv" in {path.name for path in written}
    assert not [path for path in written if b"SECRET" in path.read_bytes()]
    record = json.loads((out / "run.json").read_text())
    scenes = [scene for run in record["runs"] for scene in run["scenes"]]
    assert [(scene["path"], scene["folder"]) for scene in scenes] == [(address, "scene")] * 2
    assert [scene["status"] for scene in scenes] == ["ok", "ok"]
    assert "SECRET" not in capfd.readouterr().err


# ---- buckets


@pytest.fixture(scope="module")
def bucket(scene_file):
    """Serve a bucket like Amazon's, with one scene in it."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "made",
            "AWS_SECRET_ACCESS_KEY": "SECRET",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_S3_ENDPOINT": f"{host}:{port}",
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="storm")
        client.upload_file(str(scene_file), "storm", "h/scene.tif")
        yield "s3://storm/"
    moto.stop()


def test_a_bucket_is_read_with_the_credentials_of_the_environment(bucket, scene_file):
    with opened(f"{bucket}h/scene.tif", bucket) as scene, Scene.open(scene_file) as local:
        windows = [Window(5, 6, 64, 64)]
        chip, same = (one.read_chips(windows, size_px=64) for one in (scene, local))
    assert (chip.images[0] == same.images[0]).all()
    address = remote_path(f"{bucket}h/scene.tif")
    assert scene_sha256(address) == scene_sha256(address)


def test_what_a_bucket_lacks_is_said(bucket):
    assert "does not exist on its server" in refusal(f"{bucket}h/none.tif", bucket)
    assert "does not exist on its server" in refusal("s3://none/h/none.tif", "s3://none/")
    assert "--allow-url s3://none/h/" in refusal("s3://none/h/none.tif", bucket)


def test_google_is_read_as_gdal_reads_it(server, scene_file, monkeypatch):
    server.add("storm/s.tif", scene_file)
    monkeypatch.setenv("CPL_GS_ENDPOINT", server.url)
    monkeypatch.setenv("GS_NO_SIGN_REQUEST", "YES")
    with opened("gs://storm/s.tif", "gs://storm/") as scene:
        assert scene.width == 2048
    assert server.sent("storm/s.tif") < scene_file.stat().st_size / 10
    assert "does not exist on its server" in refusal("gs://storm/none.tif", "gs://storm/")


def test_azure_is_read_as_gdal_reads_it(server, scene_file, monkeypatch):
    assert "set credentials in the environment" in refusal("az://storm/s.tif", "az://storm/")
    server.add("made/storm/s.tif", scene_file)
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        "DefaultEndpointsProtocol=http;AccountName=made;AccountKey=a2V5;"
        f"BlobEndpoint={server.url}made",
    )
    with opened("az://storm/s.tif", "az://storm/") as scene:
        assert scene.width == 2048
    assert server.sent("made/storm/s.tif") < scene_file.stat().st_size / 10


def test_only_geotiffs_are_opened_whatever_driver_is_allowed(server, tmp_path):
    server.add("a.vrt", b'<VRTDataset rasterXSize="20" rasterYSize="20"></VRTDataset>')
    with pytest.raises(SceneError, match="only GeoTIFFs are read from addresses"):
        open_raster(remote_path(server.url + "a.vrt"), ("VRT",), (server.url,))


def test_a_plain_path_of_an_address_is_no_way_around_the_list(server, scene_file):
    address = server.add("scene.tif", scene_file)
    for path in (Path(address), Path(f"/vsicurl/{address}")):
        with pytest.raises(SceneError, match="write a plain address"):
            open_raster(path, ("vsicurl",), (server.url,))
    assert not server.asked()
