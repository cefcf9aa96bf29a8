"""What GDAL may still do in a process of the service; each question is asked in a process."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from textwrap import dedent

from rasters import UTM, box, frame_of, noise, smooth, write_raster


def hardened(code: str, *arguments: object) -> dict:
    """Run code in a process after `harden_gdal`; return what it puts into `found`."""
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom api.hardening import harden_gdal\n"
        "harden_gdal()\nharden_gdal()\nfound = {}\narguments = sys.argv[1:]\n"
        f"{dedent(code)}\nprint(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def web_server() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server on loopback and the list of what is asked of it."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_only_the_drivers_that_are_needed_are_left_in_both_libraries():
    found = hardened("""
        import pyogrio, rasterio
        with rasterio.Env() as env:
            found["rasterio"] = sorted(env.drivers())
        found["pyogrio"] = sorted(pyogrio.list_drivers())
    """)
    assert {"GTiff", "COG", "PNG", "JPEG", "MEM"} <= set(found["rasterio"])
    assert {"GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile"} <= set(found["pyogrio"])
    allowed = {"GTiff", "COG", "PNG", "JPEG", "MEM", "Memory"}
    allowed |= {"GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile"}
    assert set(found["rasterio"]) | set(found["pyogrio"]) <= allowed


def test_vrts_networks_and_archives_are_not_opened(tmp_path):
    source = write_raster(tmp_path / "source.tif", noise(20, 20))
    vrt = tmp_path / "scene.tif"
    vrt.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{source}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with web_server() as (address, asked):
        found = hardened(
            """
            import pyogrio, rasterio
            from pyogrio.errors import DataSourceError
            from rasterio.errors import RasterioIOError
            for name in arguments:
                found[name] = "opened"
                try:
                    rasterio.open(name)
                except RasterioIOError:
                    try:
                        pyogrio.read_info(name)
                    except DataSourceError:
                        found[name] = "refused"
            """,
            vrt,
            vrt.read_text(),
            f"{address}/scene.tif",
            f"/vsicurl/{address}/scene.tif",
            "/vsis3/bucket/scene.tif",
            f"/vsitar/{tmp_path}/scenes.tar/scene.tif",
            f"/vsigzip/{tmp_path}/scene.tif.gz",
            f"WFS:{address}",
            f"{address}/houses.geojson",
        )
    assert set(found.values()) == {"refused"}
    assert asked == []


def test_a_crs_that_is_a_link_is_not_looked_up(tmp_path):
    path = tmp_path / "houses.geojson"
    with web_server() as (address, asked):
        link = {"type": "link", "properties": {"href": f"{address}/crs", "type": "ogcwkt"}}
        frame = json.loads(frame_of([box(0, 0, 8, 8)]).to_json())
        path.write_text(json.dumps(frame | {"crs": link}))
        found = hardened(
            """
            import pyogrio
            found["features"] = pyogrio.read_info(arguments[0])["features"]
            """,
            path,
        )
    assert found == {"features": 1}
    assert asked == []


def test_files_beside_a_scene_are_not_read(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(20, 20), crs=None, transform=None)
    (tmp_path / "scene.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>")
    (tmp_path / "scene.tfw").write_text("0.5\n0\n0\n-0.5\n100\n100\n")
    found = hardened(
        """
        import warnings, rasterio
        from data_prep.opening import open_raster
        warnings.simplefilter("ignore")
        with open_raster(Path(arguments[0])) as file:
            found["crs"], found["place"] = str(file.crs), file.transform.is_identity
        with rasterio.open(arguments[0]) as file:
            found["files"] = len(file.files)
        """,
        path,
    )
    assert found == {"crs": "None", "place": True, "files": 1}


def test_scenes_are_assessed_as_before_with_every_format_and_a_warped_scene(tmp_path):
    turned = UTM.rotation(20)
    write_raster(tmp_path / "plain.tif", smooth(300, 300))
    write_raster(tmp_path / "turned.tif", smooth(300, 300), transform=UTM @ turned)
    write_raster(tmp_path / "hidden.tif", noise(300, 300, bands=1) // 200)
    frame_of([box(10, 10, 60, 60), box(200, 200, 260, 260)]).to_file(tmp_path / "houses.gpkg")
    found = hardened(
        """
        from damagenet.engine.batch import assess_scenes
        from damagenet.options import FORMATS, AssessOptions
        folder = Path(arguments[0])
        options = AssessOptions(
            exclude=folder / "hidden.tif", buildings=folder / "houses.gpkg", format=FORMATS,
            model="harvey",
        )
        scenes = [folder / "plain.tif", folder / "turned.tif"]
        result = assess_scenes(scenes, folder / "out", options)
        found["failures"] = [scene.sentence for scene in result.failures]
        found["units"] = [one.counts.units for one in result.assessments]
        found["files"] = sorted(file.name for file in (folder / "out" / "turned").glob("damage.*"))
        """,
        tmp_path,
    )
    assert found["failures"] == []
    assert found["units"] == [2, 2]
    names = ("csv", "geojson", "gpkg", "parquet", "qml", "tif")
    assert found["files"] == [f"damage.{name}" for name in names]


def test_a_zipped_shapefile_is_read_as_before(tmp_path):
    frame_of([box(0, 0, 8, 8)]).to_file(tmp_path / "houses.shp.zip")
    found = hardened(
        """
        from data_prep.vectors import read_vectors
        found["count"] = len(read_vectors(Path(arguments[0])).frame)
        """,
        tmp_path / "houses.shp.zip",
    )
    assert found == {"count": 1}


def test_pictures_are_encoded_for_the_map_by_the_drivers_that_are_kept():
    found = hardened("""
        import numpy as np, rasterio, warnings
        from rasterio.errors import RasterioIOError
        warnings.simplefilter("ignore")
        for driver in ("PNG", "JPEG", "WEBP"):
            profile = {"width": 8, "height": 8, "count": 3, "dtype": "uint8", "driver": driver}
            try:
                with rasterio.MemoryFile() as memory:
                    with memory.open(**profile) as file:
                        file.write(np.zeros((3, 8, 8), np.uint8))
                    found[driver] = len(memory.read()) > 0
            except (ValueError, RasterioIOError):
                found[driver] = False
    """)
    assert found == {"PNG": True, "JPEG": True, "WEBP": False}
