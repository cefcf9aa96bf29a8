"""The table formats hold every record, say the same, and do not depend on how work was cut."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from assessments import make_assessment, make_card
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from damagenet.assessment import Assessment
from damagenet.errors import OutputError
from damagenet.outputs.batches import Batch
from damagenet.outputs.geojson import lonlat_geometries, write_geojson
from damagenet.outputs.layer import VectorLayer, cannot_write
from damagenet.outputs.writing import write_outputs, write_vectors
from damagenet.records import RECORD_FIELDS

TABLES = ("gpkg", "geojson", "parquet", "csv")
NASTY = ['say "hi"', "a,b\r\nc", "<script>alert(1)</script>", "München 東京", "", None]


def nasty(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": [NASTY[number % len(NASTY)] for number in range(count)],
            "storeys": pd.array([None if n % 5 == 0 else n for n in range(count)], dtype="Int64"),
            "vacant": pd.array(
                [None if n % 4 == 0 else n % 2 == 0 for n in range(count)], "boolean"
            ),
            "built": [pd.Timestamp("1999-05-01") + pd.Timedelta(days=n) for n in range(count)],
            "Fid": range(count),
            "empty": [None] * count,
        }
    )


def records(assessment: Assessment) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(part) for part in assessment.parts()], ignore_index=True)


@pytest.fixture
def buildings(tmp_path: Path) -> Assessment:
    return make_assessment(
        tmp_path, kind="building", shape=(4, 5), crs="EPSG:4326", attributes=nasty(20)
    )


def test_every_record_comes_back_from_every_table(buildings: Assessment) -> None:
    write_outputs(buildings, TABLES)
    truth = records(buildings)
    folder = buildings.folder
    frames = {
        "gpkg": gpd.read_file(folder / "damage.gpkg", layer="damage"),
        "geojson": gpd.read_file(folder / "damage.geojson"),
        "parquet": gpd.read_parquet(folder / "damage.parquet"),
        "csv": pd.read_csv(folder / "damage.csv", keep_default_na=False),
    }
    for name, frame in frames.items():
        assert frame["unit_id"].tolist() == truth["unit_id"].tolist(), name
        assert frame["label"].tolist() == truth["label"].tolist(), name
        assert frame["reason"].tolist() == truth["reason"].tolist(), name
        p = pd.to_numeric(frame["p_damaged"], errors="coerce")
        np.testing.assert_array_equal(p, truth["p_damaged"], err_msg=name)
        assert list(frame.columns[: len(RECORD_FIELDS)]) == list(RECORD_FIELDS), name


def test_the_caller_s_attributes_keep_their_names_types_and_gaps(buildings: Assessment) -> None:
    write_outputs(buildings, TABLES)
    frame = gpd.read_parquet(buildings.folder / "damage.parquet")
    assert frame["name"].where(frame["name"].notna(), None).tolist() == nasty(20)["name"].tolist()
    info = pyogrio.read_info(buildings.folder / "damage.gpkg", layer="damage")
    types = dict(zip(info["fields"], info["dtypes"], strict=True))
    assert (types["storeys"], types["vacant"], types["Fid"]) == ("int64", "bool", "int64")
    assert types["built"].startswith("datetime64")
    assert info["fid_column"] == "fid_2"  # `Fid` belongs to the caller
    first = json.loads((buildings.folder / "damage.geojson").read_text())["features"][0]
    assert list(first["properties"])[: len(RECORD_FIELDS)] == list(RECORD_FIELDS)
    assert first["properties"]["storeys"] is None
    assert first["properties"]["name"] == 'say "hi"'


def test_points_stay_points_and_polygons_become_multipolygons(tmp_path: Path) -> None:
    for geometry, expected in (("point", "Point"), ("polygon", "MultiPolygon")):
        made = make_assessment(tmp_path / geometry, kind="building", geometry=geometry)
        write_outputs(made, TABLES)
        info = pyogrio.read_info(made.folder / "damage.gpkg", layer="damage")
        assert info["geometry_type"] == expected
        frame = gpd.read_parquet(made.folder / "damage.parquet")
        assert set(frame.geom_type) == {expected}
        features = json.loads((made.folder / "damage.geojson").read_text())["features"]
        assert {feature["geometry"]["type"] for feature in features} == {expected}


def test_files_keep_the_buildings_crs_and_geojson_is_lonlat(buildings: Assessment) -> None:
    write_outputs(buildings, TABLES)
    assert gpd.read_file(buildings.folder / "damage.gpkg", layer="damage").crs.to_epsg() == 4326
    assert gpd.read_parquet(buildings.folder / "damage.parquet").crs.to_epsg() == 4326


def test_a_grid_in_metres_becomes_lonlat_in_geojson(tmp_path: Path) -> None:
    made = make_assessment(tmp_path)
    write_outputs(made, TABLES)
    parquet = gpd.read_parquet(made.folder / "damage.parquet")
    assert parquet.crs.to_epsg() == 32615
    text = (made.folder / "damage.geojson").read_text()
    features = json.loads(text)["features"]
    lonlat = parquet.to_crs(4326).geometry.iloc[5].bounds
    assert shapely.geometry.shape(features[5]["geometry"]).bounds == pytest.approx(lonlat, abs=1e-7)
    assert '"crs"' not in text


def test_geoparquet_metadata_is_complete(tmp_path: Path) -> None:
    made = make_assessment(tmp_path)
    write_outputs(made, ["parquet"])
    geo = json.loads(pq.read_metadata(made.folder / "damage.parquet").metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["MultiPolygon"]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32615}
    expected = gpd.read_parquet(made.folder / "damage.parquet").total_bounds
    assert column["bbox"] == pytest.approx(expected)


def test_csv_is_rfc_4180_with_blanks_for_what_is_missing(buildings: Assessment) -> None:
    write_outputs(buildings, ["csv"])
    raw = (buildings.folder / "damage.csv").read_bytes()
    rows = list(csv.reader(raw.decode("utf-8").splitlines(keepends=True), strict=True))
    assert len(rows) == 21
    assert rows[2][rows[0].index("name")] == "a,b\r\nc"
    unjudged = rows[4]
    assert unjudged[rows[0].index("label")] == "not-judged"
    assert unjudged[rows[0].index("p_damaged")] == ""
    assert b'"say ""hi"""' in raw
    assert raw.endswith(b"\r\n")


def test_the_geopackage_says_how_good_the_model_is(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, card=make_card(non_commercial=True))
    write_outputs(made, ["gpkg"])
    info = pyogrio.read_info(made.folder / "damage.gpkg", layer="damage")
    for metadata in (info["layer_metadata"], info["dataset_metadata"]):
        assert metadata["headline"] == "Ranking only, not a count"
        assert metadata["sentence"] == made.card.sentence
        assert "no FEMA or EMS-98 grade" in metadata["meaning_damaged"]
        assert "receded" in metadata["meaning_undamaged"]
        assert metadata["licence"] == "CC BY-NC-SA 4.0"
    assert made.card.sentence in info["layer_metadata"]["DESCRIPTION"]


@pytest.mark.parametrize("geometry", ["point", "polygon"])
def test_the_geopackage_carries_a_default_qgis_style(tmp_path: Path, geometry: str) -> None:
    made = make_assessment(tmp_path, kind="building", geometry=geometry)
    write_outputs(made, ["gpkg"])
    styles = pyogrio.read_dataframe(made.folder / "damage.gpkg", layer="layer_styles")
    assert styles[["f_table_name", "f_geometry_column"]].values.tolist() == [["damage", "geom"]]
    assert bool(styles["useAsDefault"].iloc[0])
    qml = styles["styleQML"].iloc[0]
    for label in ("damaged", "undamaged", "uncertain", "not-judged"):
        assert f'value="{label}"' in qml


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, 11)))
def test_bytes_do_not_depend_on_how_the_work_was_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int]
) -> None:
    whole = tmp_path_factory.mktemp("whole")
    sizes = np.diff([0, *sorted(cuts), 12]).tolist()
    one = make_assessment(whole / "one", part_sizes=[12], attributes=nasty(12))
    many = make_assessment(whole / "many", part_sizes=sizes, attributes=nasty(12))
    for made in (one, many):
        write_outputs(made, ["geojson", "parquet", "csv"])
    for name in ("damage.geojson", "damage.parquet", "damage.csv"):
        assert (one.folder / name).read_bytes() == (many.folder / name).read_bytes(), name


def test_no_records_make_valid_empty_files(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(1, 1))
    empty = made.model_copy(update={"parts_written": 0})
    write_outputs(empty, TABLES)
    assert json.loads((made.folder / "damage.geojson").read_text())["features"] == []
    assert len(gpd.read_file(made.folder / "damage.gpkg", layer="damage")) == 0
    assert len(gpd.read_parquet(made.folder / "damage.parquet")) == 0
    assert (made.folder / "damage.csv").read_text().startswith("unit_id,kind,label")


def test_pixel_coordinates_cannot_be_geojson(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, scene_crs=None)
    assert list(cannot_write(made.crs, TABLES)) == ["geojson"]
    with pytest.raises(OutputError, match=r"GeoJSON is longitude and latitude.*no CRS"):
        write_outputs(made, TABLES)
    assert not list(made.folder.glob("damage.*"))
    write_outputs(made, ["gpkg", "parquet", "csv"])
    assert gpd.read_parquet(made.folder / "damage.parquet").crs is None
    with (made.folder / "damage.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["lon"] == ""


def test_a_run_adds_scenes_and_disagree_and_brings_parts_to_one_crs(tmp_path: Path) -> None:
    first = make_assessment(tmp_path / "a")
    second = make_assessment(tmp_path / "b", scene_crs="EPSG:4326", shape=(2, 2))
    layer = VectorLayer.of_run([first, second])

    def parts() -> list[gpd.GeoDataFrame]:
        return [
            part.assign(scenes="a.tif;b.tif", disagree=number == 0)
            for made in (first, second)
            for number, part in enumerate(made.parts())
        ]

    paths = write_vectors(
        tmp_path, (*TABLES, "cog", "html"), layer, lambda: map(layer.batch, parts())
    )
    assert [path.name for path in paths] == [f"damage.{suffix}" for suffix in TABLES]
    frame = gpd.read_file(tmp_path / "damage.gpkg", layer="damage")
    assert (len(frame), frame.crs.to_epsg()) == (16, 4326)
    assert frame["scenes"].unique().tolist() == ["a.tif;b.tif"]
    assert frame["disagree"].sum() == 6
    assert frame.geometry.iloc[0].centroid.x == pytest.approx(-95.379, abs=1e-3)


def test_scenes_without_a_crs_cannot_share_a_map(tmp_path: Path) -> None:
    first = make_assessment(tmp_path / "a")
    second = make_assessment(tmp_path / "b", scene_crs=None)
    with pytest.raises(OutputError, match=r"scenes without a CRS \(scene\) cannot share a map"):
        VectorLayer.of_run([first, second])
    with pytest.raises(OutputError, match="no scene succeeded"):
        VectorLayer.of_run([])


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(st.one_of(st.none(), st.text(max_size=12)), min_size=12, max_size=12),
    numbers=st.lists(st.floats() | st.none(), min_size=12, max_size=12),
)
def test_geojson_holds_any_text_and_leaves_out_what_is_no_number(
    texts: list[str | None],
    numbers: list[float | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("geojson")
    layer = VectorLayer.of(make_assessment(folder))
    table = pa.table({"%s, \n": pa.array(texts, pa.string()), "q": pa.array(numbers, pa.float64())})
    batch = Batch(table=table, geometry=np.full(12, None, dtype=object))
    write_geojson(folder / "x.geojson", replace(layer, types=table.schema), [batch])
    features = json.loads((folder / "x.geojson").read_text(encoding="utf-8"))["features"]
    assert [one["properties"]["%s, \n"] for one in features] == texts
    finite = [n if n is not None and np.isfinite(n) else None for n in numbers]
    assert [one["properties"]["q"] for one in features] == finite
    assert {one["geometry"] for one in features} == {None}


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    made = make_assessment(tmp_path)
    made.part_paths()[1].write_bytes(b"half a part")
    with pytest.raises(OutputError, match=r"part-000001.parquet.*--no-resume"):
        write_outputs(made, ["csv"])


IDENTITY = Transformer.from_crs(4326, 4326, always_xy=True)


@settings(deadline=None)
@given(
    west=st.floats(-170, 160),
    south=st.floats(-80, 70),
    side=st.floats(1e-5, 9),
    hole=st.booleans(),
    clockwise=st.booleans(),
)
def test_outer_rings_run_counter_clockwise_with_seven_decimals(
    west: float, south: float, side: float, hole: bool, clockwise: bool
) -> None:
    shell = shapely.box(west, south, west + side, south + side, ccw=not clockwise).exterior
    inner = shapely.box(
        west + side / 4, south + side / 4, west + side / 2, south + side / 2, ccw=not clockwise
    ).exterior
    polygon = shapely.Polygon(shell, [inner] if hole else [])
    (made,) = lonlat_geometries(np.array([polygon], dtype=object), IDENTITY)
    assert made.exterior.is_ccw
    assert all(not ring.is_ccw for ring in made.interiors)
    coordinates = shapely.get_coordinates(made)
    np.testing.assert_array_equal(coordinates, np.round(coordinates, 7))
    np.testing.assert_allclose(made.bounds, polygon.bounds, atol=1e-7)


def test_a_building_across_the_antimeridian_is_cut_there() -> None:
    crossing = shapely.Polygon([(179.9, 0), (-179.9, 0), (-179.9, 1), (179.9, 1)])
    (made,) = lonlat_geometries(np.array([crossing], dtype=object), IDENTITY)
    assert sorted(part.bounds for part in made.geoms) == [(-180, 0, -179.9, 1), (179.9, 0, 180, 1)]


def test_a_building_without_a_place_has_a_null_geometry(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, kind="building", part_sizes=[12])
    (part,) = made.parts()
    part.loc[0, "geometry"] = None
    part.loc[1, "geometry"] = shapely.MultiPolygon()
    part.to_parquet(made.part_paths()[0], index=False)
    write_outputs(made, (*TABLES, "cog", "html"))
    features = json.loads((made.folder / "damage.geojson").read_text())["features"]
    assert [feature["geometry"] is None for feature in features[:3]] == [True, True, False]
    frame = gpd.read_file(made.folder / "damage.gpkg", layer="damage")
    assert frame.geometry.isna().tolist()[:3] == [True, True, False]


def test_rounding_leaves_geojson_polygons_valid() -> None:
    # In the middle it is narrower than 1e-7 degrees, and rounding lets both sides meet.
    thin = shapely.Polygon([(0, 0), (1e-3, 3e-8), (2e-3, 0), (2e-3, 1e-3), (1e-3, 4e-8), (0, 1e-3)])
    assert thin.is_valid
    given = np.array([shapely.MultiPolygon([thin]), None], dtype=object)
    degrees = Transformer.from_crs(4326, 4326, always_xy=True)
    written = lonlat_geometries(given, degrees)
    assert (written[0].is_valid, written[0].geom_type) == (True, "MultiPolygon")
    assert written[0].area == pytest.approx(thin.area, rel=1e-3)
    assert written[1] is None
