"""Buildings come back whole, under the caller's ids, whatever file they came in."""

import datetime as dt
import json
import sqlite3
import struct
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import box, frame_of, noise, place, write_raster

from damagenet.card import ChipGround
from damagenet.errors import FootprintError
from data_prep.footprints import building_units, read_buildings
from data_prep.scene import Scene, SceneOptions

GROUND = ChipGround()
SIZE_PX = 400


@pytest.fixture
def scene(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(SIZE_PX, SIZE_PX))
    with Scene.open(path) as opened:
        yield opened


HOUSES = frame_of([box(100, 100, 130, 120), box(300, 50, 320, 80)], uid=["a", "b"], storeys=[1, 2])


def write_as(kind: str, folder: Path, frame: gpd.GeoDataFrame = HOUSES) -> Path:
    path = folder / f"houses{kind}"
    if kind == ".parquet":
        frame.to_parquet(path)
    elif kind == ".shp.zip":
        frame.to_file(folder / "houses.shp")
        with zipfile.ZipFile(path, "w") as archive:
            for part in folder.glob("houses.*"):
                if part != path:
                    archive.write(part, part.name)
    elif kind == ".gdb":
        frame.to_file(path, driver="OpenFileGDB", TARGET_ARCGIS_VERSION="ARCGIS_PRO_3_2_OR_LATER")
    elif kind == ".geojson":
        frame.to_crs(4326).to_file(path)
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize(
    "kind", [".gpkg", ".geojson", ".fgb", ".parquet", ".shp", ".shp.zip", ".gdb"]
)
def test_every_format_gives_the_same_units(tmp_path, scene, kind):
    buildings = read_buildings(write_as(kind, tmp_path), id_field="uid")
    units = {unit.unit_id: unit for unit in building_units(buildings, scene, GROUND)}
    assert set(units) == {"a", "b"}
    assert buildings.geometry == "polygon"
    assert set(buildings.frame.geometry.geom_type) == {"MultiPolygon"}
    assert (units["a"].windows[0].col_off, units["a"].windows[0].row_off) == (51, 46)
    assert units["a"].lon == pytest.approx(-95.6489, abs=1e-3)


def test_points_come_from_csv_columns_and_stay_points(tmp_path, scene):
    path = tmp_path / "points.csv"
    lons, lats = scene.lonlat(np.array([100.5, 40.5]), np.array([200.5, 80.5]))
    rows = [f"{lon:.9f},{lat:.9f},{name}" for lon, lat, name in zip(lons, lats, "pq", strict=True)]
    path.write_text("\n".join(["Longitude,Latitude,name", *rows]))
    buildings = read_buildings(path)
    assert buildings.geometry == "point"
    assert list(buildings.frame["unit_id"]) == ["0", "1"]
    assert list(buildings.frame["name"]) == ["p", "q"]
    window = building_units(buildings, scene, GROUND)[0].windows[0]
    assert (window.col_off, window.row_off) == (36, 136)


def test_a_csv_without_coordinates_is_refused(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("name,street\np,Elm")
    with pytest.raises(FootprintError, match=r"has no columns lon and lat \(it has name, street\)"):
        read_buildings(path)


def test_ids_are_taken_from_uid_id_or_fid_else_the_row(tmp_path):
    frame = frame_of(HOUSES.geometry, Fid=[7.0, 8.0], ID=["x", "y"])
    frame.to_parquet(tmp_path / "a.parquet")
    assert list(read_buildings(tmp_path / "a.parquet").frame["unit_id"]) == ["x", "y"]
    named = read_buildings(tmp_path / "a.parquet", id_field="Fid")
    assert list(named.frame["unit_id"]) == ["7", "8"]
    frame[["geometry"]].to_parquet(tmp_path / "b.parquet")
    assert list(read_buildings(tmp_path / "b.parquet").frame["unit_id"]) == ["0", "1"]


@pytest.mark.parametrize(
    ("kind", "name", "numbers"), [(".gpkg", "fid", ["1", "2"]), (".gdb", "OBJECTID", ["1", "2"])]
)
def test_a_feature_keeps_the_number_that_its_format_gives_it(tmp_path, kind, name, numbers):
    path = write_as(kind, tmp_path, HOUSES[["storeys", "geometry"]])
    assert list(read_buildings(path).frame["unit_id"]) == numbers
    assert list(read_buildings(path, id_field=name).frame["unit_id"]) == numbers
    assert list(read_buildings(path).frame.columns) == ["unit_id", "storeys", "geometry"]


def test_a_csv_keeps_what_is_written_in_it(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        "id,lon,lat,zip,country,storeys,height,code,wet,big\n"
        "00123,-95.5,29.8,07001,NA,2,10.5,1E5,true,12345678901234567890\n"
        "123,-95.6,29.7,77002,US,,3,2E5,False,1\n"
    )
    frame = read_buildings(path).frame
    assert list(frame["unit_id"]) == ["00123", "123"]
    assert list(frame["zip"]) == ["07001", "77002"]
    assert list(frame["country"]) == ["NA", "US"]
    assert list(frame["code"]) == ["1E5", "2E5"]
    assert list(frame["big"]) == ["12345678901234567890", "1"]
    assert (frame["storeys"].dtype, frame["storeys"][0]) == (pd.Int64Dtype(), 2)
    assert list(frame["height"]) == [10.5, 3.0]
    assert list(frame["wet"]) == [True, False]


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_a_building_that_lies_nowhere_is_not_judged(tmp_path, fault):
    ring = [(0, 0), (0, 5), (5, 5), (fault, 2), (0, 0)]
    with np.errstate(invalid="ignore"):
        shapes = [HOUSES.geometry[0], shapely.Polygon(ring), shapely.Point(fault, 3)]
    frame = gpd.GeoDataFrame(geometry=shapes, crs=HOUSES.crs)
    frame.to_parquet(tmp_path / "houses.parquet")
    read = read_buildings(tmp_path / "houses.parquet")
    assert list(read.frame.geometry.is_empty) == [False, True, True]
    assert "2 of 3 features are no usable point or polygon" in read.warnings[-1]


def test_a_geoparquet_may_hold_several_geometries_by_any_names(tmp_path):
    frame = HOUSES.rename_geometry("geom").assign(geometry=["brick", "wood"])
    frame["centroid"] = frame.geometry.centroid
    frame.to_parquet(tmp_path / "houses.parquet")
    read = read_buildings(tmp_path / "houses.parquet")
    assert list(read.frame.columns) == ["unit_id", "uid", "storeys", "geometry", "src_geometry"]
    assert read.geometry == "polygon"
    assert "further geometries, which are left out: centroid" in read.warnings[0]


def test_a_layer_of_lines_is_passed_over_for_buildings(tmp_path):
    path = tmp_path / "town.gpkg"
    roads = gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (9, 9)])], crs=HOUSES.crs)
    roads.to_file(path, layer="a_roads")
    HOUSES.to_file(path, layer="houses", mode="a")
    read = read_buildings(path)
    assert len(read.frame) == 2
    assert "several layers: houses is used, a_roads not" in read.warnings[-1]


@pytest.mark.parametrize(("west", "lon"), [(264.6, -95.3999), (179.9995, -179.9999)])
def test_meridians_with_other_numbers_are_the_same(tmp_path, west, lon):
    degrees = Affine(5e-6, 0, west, 0, -5e-6, 29.8)
    path = write_raster(tmp_path / "s.tif", noise(300, 300), transform=degrees, crs="EPSG:4326")
    house = shapely.Point(lon, 29.7995)
    gpd.GeoDataFrame(geometry=[house], crs=4326).to_file(tmp_path / "house.gpkg")
    with Scene.open(path) as scene:
        (unit,) = building_units(
            read_buildings(tmp_path / "house.gpkg").touching(scene), scene, GROUND
        )
    assert unit.lon == pytest.approx(lon)
    window = unit.windows[0]
    assert 0 < window.col_off + window.width / 2 < 300


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            ["a", "a"],
            r"1 ids in column 'uid' are not unique \(a\): keep one row for each, or name another",
        ),
        (["a", None], r"ids are missing in column 'uid' \(row 1\)"),
    ],
)
def test_ids_that_do_not_name_one_building_each_are_refused(tmp_path, ids, message):
    path = tmp_path / "houses.parquet"
    frame_of(HOUSES.geometry, uid=ids).to_parquet(path)
    with pytest.raises(FootprintError, match=message):
        read_buildings(path)


def test_an_unknown_id_field_is_refused_with_the_choices(tmp_path):
    with pytest.raises(FootprintError, match="no column 'nr' for --id-field: choose one of uid"):
        read_buildings(write_as(".gpkg", tmp_path), id_field="nr")


def test_attributes_that_clash_with_record_fields_are_prefixed(tmp_path):
    path = tmp_path / "houses.gpkg"
    frame_of(
        HOUSES.geometry, Label=["x", "y"], row=[5, 6], src_row=[7, 8], colour=["r", "g"]
    ).to_file(path)
    columns = list(read_buildings(path).frame.columns)
    assert columns == ["unit_id", "src_Label", "src_src_row", "src_row", "colour", "geometry"]


def test_a_building_of_any_shape_comes_back_and_is_counted_where_it_cannot_be_used(tmp_path, scene):
    west, north = place(50, 50)
    bowtie = shapely.Polygon([place(0, 0), place(20, 20), place(20, 0), place(0, 20)])
    raised = shapely.Polygon([(west, north, 5), (west + 9, north, 5), (west + 9, north - 9, 5)])
    shapes = [
        bowtie,
        raised,
        shapely.MultiPolygon([box(10, 10, 14, 14), box(20, 20, 24, 24)]),
        shapely.LineString([place(0, 0), place(9, 9)]),
        None,
        shapely.Polygon(),
    ]
    path = tmp_path / "houses.gpkg"
    frame_of(shapes, uid=list("abcdef")).to_file(path)
    buildings = read_buildings(path)
    frame = buildings.frame
    assert list(frame["unit_id"]) == list("abcdef")
    assert frame.geometry.is_valid.all()
    assert not frame.geometry.has_z.any()
    assert list(frame.geometry.is_empty) == [False, False, False, True, True, True]
    assert "3 of 6 features are no usable point or polygon" in buildings.warnings[0]
    units = building_units(buildings, scene, GROUND)
    assert [len(unit.windows) for unit in units] == [1, 1, 1, 0, 0, 0]
    assert units[5].lon is None


def test_points_and_polygons_in_one_file_are_refused(tmp_path):
    path = tmp_path / "mixed.gpkg"
    frame_of([box(0, 0, 5, 5), shapely.Point(place(9, 9))]).to_file(path)
    with pytest.raises(FootprintError, match="mixes 1 points and 1 polygons: split it in two"):
        read_buildings(path)


def test_a_file_without_geometry_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(FootprintError, match="is no GeoParquet file with a geometry"):
        read_buildings(tmp_path / "table.parquet")
    (tmp_path / "none.geojson").write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "geometry": None, "properties": {"a": 1}}],
            }
        )
    )
    with pytest.raises(FootprintError, match=r"holds no points or polygons|holds no geometry"):
        read_buildings(tmp_path / "none.geojson")
    frame_of([shapely.LineString([(0, 0), (1, 1)])]).to_file(tmp_path / "roads.gpkg")
    with pytest.raises(FootprintError, match="holds no points or polygons"):
        read_buildings(tmp_path / "roads.gpkg")


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(FootprintError, match="does not exist"):
        read_buildings(tmp_path / "none.gpkg")
    (tmp_path / "bad.gpkg").write_bytes(b"nothing of the kind")
    with pytest.raises(FootprintError, match="cannot be read as a vector file"):
        read_buildings(tmp_path / "bad.gpkg")
    (tmp_path / "bad.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(FootprintError, match="is no GeoParquet file"):
        read_buildings(tmp_path / "bad.parquet")
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(FootprintError, match="holds no"):
        read_buildings(tmp_path / "empty.geojson")


def test_a_description_that_points_elsewhere_is_not_followed(tmp_path):
    path = tmp_path / "houses.gpkg"
    path.write_text("<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>")
    with pytest.raises(FootprintError, match="points at other data, which is not followed"):
        read_buildings(path)


def test_curved_outlines_are_drawn_out(tmp_path, scene):
    path = tmp_path / "round.gpkg"
    frame_of([box(0, 0, 9, 9)]).to_file(path, SPATIAL_INDEX="NO")
    (x, y), radius = place(200, 200), 10.0
    ring = [(x - radius, y), (x, y + radius), (x + radius, y), (x, y - radius), (x - radius, y)]
    arc = struct.pack("<BII", 1, 8, 5) + b"".join(struct.pack("<dd", *point) for point in ring)
    circle = struct.pack("<BII", 1, 10, 1) + arc
    with sqlite3.connect(path) as database:
        header = database.execute("select substr(geom, 1, 8) from round").fetchone()[0]
        plain = header[:3] + b"\x01" + header[4:]
        database.execute("update round set geom = ?", (plain + circle,))
    database.close()
    buildings = read_buildings(path)
    assert buildings.frame.geometry.area[0] == pytest.approx(np.pi * radius**2, rel=0.01)


def test_without_a_crs_degrees_are_assumed_with_a_warning_and_metres_refused(tmp_path):
    degrees = gpd.GeoDataFrame(geometry=[shapely.Point(-95.6, 29.8)])
    degrees.to_parquet(tmp_path / "degrees.parquet")
    buildings = read_buildings(tmp_path / "degrees.parquet")
    assert "has no CRS: its coordinates are taken for lon and lat" in buildings.warnings[0]
    metres = gpd.GeoDataFrame(geometry=[shapely.Point(244_000, 3_303_000)])
    metres.to_parquet(tmp_path / "metres.parquet")
    with pytest.raises(FootprintError, match=r"has no CRS and its coordinates .* are no degrees"):
        read_buildings(tmp_path / "metres.parquet")


def test_buildings_on_another_planet_are_refused(tmp_path):
    moon = gpd.GeoDataFrame(geometry=[shapely.Point(10, 10)], crs="IAU_2015:30100")
    moon.to_parquet(tmp_path / "moon.parquet")
    with pytest.raises(FootprintError, match=r"Moon \(2015\).* cannot be placed on the Earth"):
        read_buildings(tmp_path / "moon.parquet")


def test_the_first_layer_with_geometry_is_used_and_said(tmp_path):
    path = tmp_path / "two.gpkg"
    HOUSES.to_file(path, layer="houses")
    HOUSES.to_file(path, layer="sheds", mode="a")
    assert "several layers: houses is used, sheds not" in read_buildings(path).warnings[-1]


def test_only_buildings_on_the_scene_touch_it_and_keep_their_order_and_row(tmp_path, scene):
    shapes = [box(-90, 0, -80, 9), box(390, 390, 410, 410), box(5, 5, 9, 9), None]
    path = tmp_path / "houses.gpkg"
    frame_of(shapes, uid=list("abcd")).to_crs(4326).to_file(path)
    touching = read_buildings(path).touching(scene)
    assert list(touching.frame["unit_id"]) == ["b", "c"]
    assert [unit.row for unit in building_units(touching, scene, GROUND)] == [1, 2]


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 390), st.integers(1, 390))
def test_the_chips_of_a_large_building_cover_it(left, top, width, height):
    from data_prep.footprints import chip_windows
    from data_prep.windows import chip_size

    shape = shapely.box(left, top, left + width, top + height)
    for pixel_m in ((0.4347, 0.4977), (0.467, 0.467)):
        chip = chip_size(pixel_m, GROUND)
        windows = chip_windows(shape, chip)
        seen = shapely.union_all(
            [
                shapely.box(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height)
                for w in windows
            ]
        )
        assert shape.difference(seen).area < 1.01 * (width + height)
        assert (len(windows) == 1) == (width <= chip.width_px and height <= chip.height_px)


def test_polygons_too_large_for_buildings_are_refused_before_they_fill_the_memory(tmp_path, scene):
    path = tmp_path / "county.gpkg"
    frame_of([box(0, 0, 9, 9), box(0, 0, 500_000, 500_000)], uid=["a", "county"]).to_file(path)
    buildings = read_buildings(path)
    with pytest.raises(FootprintError, match=r"take 15,\d+,\d+ chips, .* for 'county': leave out"):
        building_units(buildings, scene, GROUND)


def test_chips_that_would_miss_a_bent_building_are_left_out(tmp_path, scene):
    bent = shapely.union_all([box(0, 0, 30, 390), box(0, 360, 390, 390)])
    path = tmp_path / "bent.gpkg"
    frame_of([bent]).to_file(path)
    (unit,) = building_units(read_buildings(path), scene, GROUND)
    assert len(unit.windows) == 7


def test_buildings_on_a_scene_without_crs_are_refused(tmp_path):
    path = write_raster(tmp_path / "plain.tif", noise(150, 150), crs=None)
    buildings = read_buildings(write_as(".gpkg", tmp_path))
    with (
        Scene.open(path, SceneOptions(pixel_size=0.5)) as scene,
        pytest.raises(FootprintError, match=r"has no CRS, so .* cannot be laid over it"),
    ):
        buildings.touching(scene)


def test_attributes_keep_their_types_where_values_are_missing(tmp_path):
    values = {
        "big": [9007199254740993, None],
        "flag": [True, None],
        "day": ["2017-08-31", None],
        "mixed": [[1, "x"], None],
        "object": [{"a": "ß"}, None],
    }
    features = [
        {
            "type": "Feature",
            "properties": {name: column[row] for name, column in values.items()},
            "geometry": {"type": "Point", "coordinates": [-95.0, 29.0 + row]},
        }
        for row in range(2)
    ]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    frame = read_buildings(path).frame
    columns = pa.Table.from_pandas(frame.drop(columns="geometry"), preserve_index=False)
    rows = columns.drop_columns(["unit_id"]).to_pylist()
    assert rows[0] == {
        "big": 9007199254740993,
        "flag": True,
        "day": dt.date(2017, 8, 31),
        "mixed": '[1, "x"]',
        "object": '{"a": "ß"}',
    }
    assert set(rows[1].values()) == {None}


@pytest.mark.parametrize("folder", ["", "county/2017/"])
def test_a_zipped_shapefile_may_lie_in_a_folder(tmp_path, folder):
    make_buildings = frame_of([shapely.Point(place(10, 10))], name=["a"])
    make_buildings.to_file(tmp_path / "b.shp")
    with zipfile.ZipFile(tmp_path / "b.shp.zip", "w") as archive:
        for ending in ("shp", "shx", "dbf", "prj"):
            archive.write(tmp_path / f"b.{ending}", f"{folder}b.{ending}")
        archive.writestr("__MACOSX/._b.shp", b"")
    assert list(read_buildings(tmp_path / "b.shp.zip").frame["name"]) == ["a"]


def test_an_archive_that_is_none_is_refused(tmp_path):
    (tmp_path / "b.shp.zip").write_bytes(b"no archive")
    with pytest.raises(FootprintError, match=r"b\.shp\.zip is no ZIP archive"):
        read_buildings(tmp_path / "b.shp.zip")


def test_whole_numbers_of_a_geoparquet_stay_whole_where_one_is_missing(tmp_path):
    numbers = pd.array([9007199254740993, None], dtype="Int64")
    points = [shapely.Point(-95, 29), shapely.Point(-95, 30)]
    frame = gpd.GeoDataFrame({"big": numbers}, geometry=points, crs=4326)
    frame.to_parquet(tmp_path / "a.parquet")
    read = read_buildings(tmp_path / "a.parquet").frame["big"]
    assert pa.array(read, from_pandas=True).to_pylist() == [9007199254740993, None]


def test_a_refusal_names_the_file_and_what_to_do_in_one_line(tmp_path):
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "b.parquet")
    moon = gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs="+proj=longlat +R=1737400 +no_defs")
    moon.to_file(tmp_path / "moon.gpkg")
    (tmp_path / "b.gpkg").write_bytes(b"no database")
    for name, words in {
        "b.parquet": "write it again as GeoParquet",
        "moon.gpkg": "give the data in a CRS of the Earth",
        "b.gpkg": "name a GeoPackage",
    }.items():
        with pytest.raises(FootprintError, match=words) as refused:
            read_buildings(tmp_path / name)
        assert str(refused.value).startswith(str(tmp_path / name))
        assert "\n" not in str(refused.value)
