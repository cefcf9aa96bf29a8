"""Vector files that were sent are counted, and refused with a reason before any harm."""

import json
import sqlite3
import stat
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from rasters import box, frame_of

from api.inspection import inspect_upload
from api.problems import ServiceError
from api.settings import ServiceSettings
from api.vector_counting import Count, TooMuchError, count_vectors
from damagenet.errors import FootprintError

SETTINGS = ServiceSettings()


def refusal(path: Path, settings: ServiceSettings = SETTINGS) -> tuple[int, str]:
    """Return status and sentence by which a file is refused; no folder is ever named."""
    with pytest.raises(ServiceError) as caught:
        inspect_upload(path, "buildings", settings)
    assert str(path.parent) not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.status, str(caught.value)


def count_of(path: Path, kind: str, **limits: int) -> Count:
    """Count a file in this process, where a child would."""
    count = Count(
        path=path,
        max_features=limits.get("features", 1000),
        max_vertices=limits.get("vertices", 100_000),
        max_bytes=limits.get("bytes", 10**6),
    )
    count_vectors(count, kind)
    return count


def houses(count: int = 3) -> gpd.GeoDataFrame:
    shapes = [box(10 * number, 0, 10 * number + 8, 8) for number in range(count)]
    return frame_of(shapes, name=[f"house {number}" for number in range(count)])


def written(path: Path, frame: gpd.GeoDataFrame) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def shapefile(tmp_path: Path, prefix: str = "") -> dict[str, bytes]:
    """Return the files of a shapefile by name."""
    folder = tmp_path / "parts"
    folder.mkdir()
    houses().to_file(folder / "houses.shp")
    return {f"{prefix}{part.name}": part.read_bytes() for part in folder.iterdir()}


KINDS = {"a.gpkg": "GeoPackage", "a.geojson": "GeoJSON", "a.fgb": "FlatGeobuf"} | {
    "a.parquet": "GeoParquet"
}


@pytest.mark.parametrize("name", KINDS)
def test_features_and_vertices_are_counted_in_every_format(tmp_path, name):
    count = count_of(written(tmp_path / name, houses(7)), KINDS[name])
    assert (count.features, count.vertices) == (7, 35)


@pytest.mark.parametrize("name", KINDS)
def test_more_features_or_vertices_than_the_limit_are_refused_by_its_name(tmp_path, name):
    path = written(tmp_path / name, houses(7))
    with pytest.raises(TooMuchError, match=r"more than 6 features \(max_features\)"):
        count_of(path, KINDS[name], features=6)
    with pytest.raises(TooMuchError, match=r"more than 34 vertices \(max_vertices\)"):
        count_of(path, KINDS[name], vertices=34)


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.parquet"])
def test_coordinates_that_are_no_numbers_are_refused(tmp_path, name):
    frame = frame_of([shapely.Point(1, 2), shapely.Point(np.inf, 2)])
    options = {"SPATIAL_INDEX": "NO"} if name == "a.fgb" else {}
    path = tmp_path / name
    frame.to_parquet(path) if name == "a.parquet" else frame.to_file(path, **options)
    with pytest.raises(FootprintError, match="not finite"):
        count_of(path, KINDS[name])


def test_a_file_is_taken_by_a_child_and_stays_where_it_is(tmp_path):
    path = written(tmp_path / "a.gpkg", houses())
    assert inspect_upload(path, "buildings", SETTINGS) == path
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_child_refuses_is_answered_with_its_status(tmp_path):
    path = written(tmp_path / "a.geojson", houses())
    status, sentence = refusal(path, ServiceSettings(max_features=2))
    assert (status, sentence) == (
        413,
        "a.geojson has more than 2 features (max_features): send fewer",
    )


def test_no_library_speaks_in_a_refusal(tmp_path):
    path = tmp_path / "a.fgb"
    path.write_bytes(written(path, houses()).read_bytes()[:-50])
    sentence = "a.fgb cannot be read as what it says it is: it is damaged, export it again"
    assert refusal(path) == (422, sentence)


def test_a_child_that_dies_refuses_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONMALLOC", "no such allocator")
    assert "its reader broke down" in refusal(written(tmp_path / "a.fgb", houses()))[1]


def test_a_million_vertices_of_one_polygon_are_counted(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 1_000_000)
    ring = np.column_stack((244_000 + 900 * np.cos(angles), 3_303_000 + 900 * np.sin(angles)))
    path = written(tmp_path / "a.gpkg", frame_of([shapely.Polygon(ring)]))
    with pytest.raises(TooMuchError, match="more than 999,999 vertices"):
        count_of(path, "GeoPackage", vertices=999_999)


def test_a_larger_file_than_the_limit_is_refused_unread(tmp_path):
    path = written(tmp_path / "a.gpkg", houses())
    assert refusal(path, ServiceSettings(max_vector_bytes=1000)) == (
        413,
        f"a.gpkg has {path.stat().st_size:,} bytes, more than 1,000 (max_vector_bytes): "
        "leave out columns or buildings",
    )


def test_a_geopackage_whose_layer_is_a_program_is_refused(tmp_path):
    path = written(tmp_path / "a.gpkg", houses())
    with sqlite3.connect(path) as file:
        file.execute("ALTER TABLE a RENAME TO b")
        file.execute("CREATE VIEW a AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                     "FROM n) SELECT i AS fid, geom FROM n, b")  # fmt: skip
    with pytest.raises(FootprintError, match="has a view for a layer"):
        count_of(path, "GeoPackage")


def test_a_database_that_is_no_geopackage_is_refused(tmp_path):
    path = tmp_path / "a.gpkg"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE secrets (text)")
    with pytest.raises(FootprintError, match="no GeoPackage that can be read"):
        count_of(path, "GeoPackage")


FEATURE = '{"type": "Feature", "properties": {}, "geometry": %s}'
COLLECTION = '{"type": "FeatureCollection", "features": [%s]}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (COLLECTION % FEATURE % '{"type": "LineString", "coordinates": [[NaN, 1], [1, 1]]}', "NaN"),
        (COLLECTION % FEATURE % '{"type": "Point", "coordinates": [1e999, 1]}', "cannot be read"),
        (COLLECTION % FEATURE % ("[" * 100_000 + "]" * 100_000), "cannot be read"),
        ('{"type": "MultiPoint", "coordinates": [[1, 2]]}', "begin as a FeatureCollection"),
        ('{"a": ' * 100_000, "begin as a FeatureCollection"),
        ('{"type": "Topology", "objects": {}}', "begin as a FeatureCollection"),
        ('{"features": [' + "0," * 100_000, "begin as a FeatureCollection"),
        ("{", "begin as a FeatureCollection"),
        (COLLECTION[:-4], "cannot be read"),
    ],
)
def test_a_spoilt_geojson_is_refused(tmp_path, text, words):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(FootprintError, match=words):
        count_of(path, "GeoJSON")


def test_what_stands_before_the_type_of_a_geojson_is_passed_over(tmp_path):
    path = tmp_path / "a.geojson"
    member = '"name": "a, {b}", "bbox": [0, 0, 1, 1], "type"'
    feature = FEATURE % '{"type": "Point", "coordinates": [1, 2]}'
    path.write_text((COLLECTION % feature).replace('"type"', member, 1), encoding="utf-8-sig")
    assert count_of(path, "GeoJSON").features == 1


def test_a_file_without_features_is_refused(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(COLLECTION % "")
    with pytest.raises(FootprintError, match="holds no features"):
        count_of(path, "GeoJSON")
    path = tmp_path / "a.fgb"
    path.write_bytes(written(path, houses()).read_bytes()[:100])
    with pytest.raises(FootprintError, match="holds no features"):
        count_of(path, "FlatGeobuf")


def test_a_csv_is_counted_and_gaps_are_no_fault(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame({"Lon": [-95.0, None], "lat": [29.0, None], "text": "x"}).to_csv(path)
    assert count_of(path, "CSV").features == 2
    with pytest.raises(TooMuchError, match="max_features"):
        count_of(path, "CSV", features=1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"lon,lat\n1,inf\n", r"not finite \(inf\)"),
        (b"lon,lat\n1,2\0\n", "no text of lines"),
        (b"lon,lat\n" + b"1" * 2**21, "no text of lines"),
    ],
)
def test_a_spoilt_csv_is_refused(tmp_path, data, words):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(FootprintError, match=words):
        count_of(path, "CSV")


def test_a_csv_of_ten_thousand_columns_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("lon,lat" + ",a" * 10_000 + "\n")
    with pytest.raises(TooMuchError, match="10,002 columns"):
        count_of(path, "CSV")


def test_a_parquet_that_unpacks_into_more_than_the_limit_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    frame = frame_of([shapely.Point(1, 2)] * 500, text=["x" * 10_000] * 500)
    frame.to_parquet(path)
    with pytest.raises(TooMuchError, match=r"unpacks to .* \(max_vector_bytes\)"):
        count_of(path, "GeoParquet", bytes=10_000)


def test_a_parquet_without_geometry_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"lon": [1.0]}), path)
    with pytest.raises(FootprintError, match="no GeoParquet with its geometry as WKB"):
        count_of(path, "GeoParquet")


@pytest.mark.parametrize("prefix", ["", "a folder/"])
def test_a_zipped_shapefile_becomes_an_archive_of_its_parts_alone(tmp_path, prefix):
    entries = shapefile(tmp_path, prefix) | {"readme.txt": b"x", "__MACOSX/houses.shp": b"x"}
    path = zipped(tmp_path / "sent.zip", entries)
    found = inspect_upload(path, "buildings", SETTINGS)
    assert found == tmp_path / "sent.shp.zip"
    assert not path.exists()
    with zipfile.ZipFile(found) as archive:
        names = {f"sent{suffix}" for suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg")}
        assert set(archive.namelist()) == names
        assert archive.testzip() is None
    assert inspect_upload(found, "buildings", SETTINGS) == found


def test_a_zipped_file_of_another_format_is_taken_out(tmp_path):
    data = written(tmp_path / "a.geojson", houses()).read_bytes()
    path = zipped(tmp_path / "sent.zip", {"deep/in/it.geojson": data})
    found = inspect_upload(path, "buildings", SETTINGS)
    assert found == tmp_path / "sent.geojson"
    assert found.read_bytes() == data


@pytest.mark.parametrize(
    ("entries", "status", "words"),
    [
        ({"../a.geojson": b"{}"}, 422, "an entry that leaves its folder"),
        ({"/etc/a.geojson": b"{}"}, 422, "an entry that leaves its folder"),
        ({"a\\..\\..\\a.geojson": b"{}"}, 422, "an entry that leaves its folder"),
        ({"c:a.geojson": b"{}"}, 422, "an entry that leaves its folder"),
        ({"a.geojson": b"{}", "b.zip": b""}, 422, "holds another archive"),
        ({"a.geojson": b"{}", "b.gpkg": b""}, 422, "holds several vector sets"),
        ({"a.shp": b"", "b.shp": b""}, 422, "holds several vector sets"),
        ({"a.shp": b"", "b.csv": b""}, 422, "holds several vector sets"),
        ({"a.shp": b"", "b.shx": b"", "a.dbf": b""}, 422, "lacks .shx of its shapefile"),
        ({"a.txt": b""}, 422, "holds no vector set"),
        ({f"{number}.txt": b"" for number in range(101)}, 413, "has 101 entries, more than 100"),
        ({"a.geojson": bytes(10**8)}, 413, "unpacks to more than 200 times its size"),
    ],
)
def test_an_archive_of_anything_but_one_set_is_refused(tmp_path, entries, status, words):
    path = zipped(tmp_path / "sent.zip", entries)
    found = refusal(path)
    assert found[0] == status
    assert words in found[1]
    assert list(tmp_path.rglob("*")) == [path]


def test_an_archive_with_a_link_is_refused(tmp_path):
    path = tmp_path / "sent.zip"
    link = zipfile.ZipInfo("a.geojson")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "holds a link or a device" in refusal(path)[1]


def test_an_archive_that_lies_about_its_sizes_is_stopped_by_what_comes_out(tmp_path):
    path = zipped(tmp_path / "sent.zip", {"a.geojson": json.dumps({"a": "b" * 10**6}).encode()})
    assert "max_vector_bytes" in refusal(path, ServiceSettings(max_vector_bytes=10**5))[1]
    spoilt = path.read_bytes().replace((10**6 + 9).to_bytes(4, "little"), b"\x10\0\0\0")
    path.write_bytes(spoilt)
    assert refusal(path)[0] == 422


def test_a_broken_archive_is_refused(tmp_path):
    path = zipped(tmp_path / "sent.zip", {"a.geojson": b"{}"})
    path.write_bytes(path.read_bytes()[:30])
    assert "no archive that can be unpacked" in refusal(path)[1]
