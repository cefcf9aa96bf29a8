"""The catalogue that a run writes: Items and a Collection that pystac accepts and can follow."""

import datetime as dt
import json
import re
import shutil
from pathlib import Path

import pystac
import pytest
import shapely
from assessments import make_assessment
from pyproj import Transformer
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from tiny_run import EAST, NORTH, SIZE_PX, make_bundle, make_scene

from damagenet.assessment import SceneInfo, SourceItem
from damagenet.engine.batch import assess_scenes
from damagenet.engine.scene_list import find_with_items
from damagenet.options import AssessOptions
from damagenet.outputs.footprint import footprint
from damagenet.outputs.stac_collection import write_catalog
from damagenet.outputs.stac_item import ASSETS, make_item
from damagenet.outputs.writing import write_outputs

UTC_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def check_core(path: Path) -> dict:
    """Check a file by the STAC schemas that pystac brings, without the network."""
    values = json.loads(path.read_text())
    kind = pystac.STACObjectType.ITEM
    if values["type"] == "Collection":
        kind = pystac.STACObjectType.COLLECTION
    JsonSchemaSTACValidator().validate_core(values, kind, values["stac_version"])
    return values


def check_extensions(values: dict) -> None:
    """Check an Item's fields by the rules of projection 2.0.0 and processing 1.2.0."""
    found = values["properties"]
    processing = {name for name in found if name.startswith("processing:")}
    assert processing <= {
        f"processing:{name}"
        for name in ("expression", "lineage", "level", "facility", "software", "version")
    } | {"processing:datetime"}
    assert all(isinstance(text, str) for text in found["processing:software"].values())
    assert UTC_TEXT.fullmatch(found["processing:datetime"])
    extensions = values["stac_extensions"]
    assert "https://stac-extensions.github.io/processing/v1.2.0/schema.json" in extensions
    projection = {name for name in found if name.startswith("proj:")}
    assert projection <= {"proj:code", "proj:projjson", "proj:bbox"}
    assert bool(projection) == any("/projection/v2.0.0/" in one for one in extensions)
    if projection:
        assert re.fullmatch(r"[A-Z]+:\w+", found["proj:code"])
        assert len(found["proj:bbox"]) == 4


@pytest.fixture
def assessment(tmp_path):
    made = make_assessment(tmp_path / "out")
    write_outputs(made, ("gpkg", "csv", "cog"))
    return made


def with_scene(assessment, **changes):
    return assessment.model_copy(update={"scene": assessment.scene.model_copy(update=changes)})


def test_a_run_of_items_is_a_catalogue_that_can_be_moved(tmp_path):
    make_bundle(tmp_path / "toy")
    inputs = tmp_path / "in"
    for number in (1, 2):
        make_scene(inputs / f"{number}" / "visual.tif", columns=2, rows=2, seed=number)
    features = [
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": f"pass-{number}",
            "geometry": None,
            "properties": {"datetime": f"2017-08-3{number - 1}T17:38:00Z"},
            "links": [],
            "assets": {"visual": {"href": f"{number}/visual.tif"}},
        }
        for number in (1, 2)
    ]
    (inputs / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    found = find_with_items([str(inputs / "items.json")])
    out = tmp_path / "out"
    options = AssessOptions(model=str(tmp_path / "toy"), format="csv")
    result = assess_scenes([*found], out, options, items=found)
    assert [one.stem for one in result.assessments] == ["pass-1", "pass-2"]
    acquired = {record.acquired for one in result.assessments for record in _records(one)}
    assert acquired == {"2017-08-30T17:38:00+00:00", "2017-08-31T17:38:00+00:00"}

    shutil.move(out, tmp_path / "moved")
    check_core(tmp_path / "moved" / "collection.json")
    collection = pystac.Collection.from_file(str(tmp_path / "moved" / "collection.json"))
    assert (collection.id, collection.license) == ("out", "Apache-2.0")
    items = [*collection.get_items()]
    assert [one.id for one in items] == ["pass-1", "pass-2"]
    first = items[0]
    assert first.get_collection().id == "out"
    for one in items:
        check_extensions(check_core(Path(one.get_self_href())))
        assert all(Path(asset.get_absolute_href()).is_file() for asset in one.assets.values())
    assert first.datetime == dt.datetime(2017, 8, 30, 17, 38, tzinfo=dt.UTC)
    sources = [link.get_href(transform_href=False) for link in first.get_links("derived_from")]
    assert sources == [
        (inputs / "1" / "visual.tif").as_uri(),
        (inputs / "items.json").as_uri(),
    ]
    assert first.properties["damagenet:units"] == 4
    (interval,) = collection.extent.temporal.intervals
    assert [moment.day for moment in interval] == [30, 31]
    assert collection.extent.spatial.bboxes == [pytest.approx(first.bbox)]


def _records(assessment):
    return [row for part in assessment.parts() for row in part.itertuples()]


def test_a_second_run_adds_to_the_collection_and_makes_up_for_missing_items(tmp_path):
    make_bundle(tmp_path / "toy")
    options = AssessOptions(model=str(tmp_path / "toy"), format="csv")
    out = tmp_path / "out"
    for number, name in enumerate(("a.tif", "b.tif")):
        if number:
            (out / "a" / "item.json").unlink()
            values = json.loads((out / "collection.json").read_text())
            (out / "collection.json").write_text(json.dumps(values | {"id": "mine"}))
        scene = make_scene(tmp_path / name, columns=2, rows=2, seed=number)
        assess_scenes([scene], out, options)
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    assert collection.id == "mine"
    assert [item.id for item in collection.get_items()] == ["a", "b"]
    assert {item.collection_id for item in collection.get_items()} == {"mine"}


def test_an_item_says_what_was_judged_by_what(assessment):
    found = make_item(assessment, "run").properties
    assert found["processing:lineage"] == f"scene.tif, judged cell by cell by model {_model(found)}"
    assert (found["processing:level"], found["damagenet:kind"]) == ("L4", "cell")
    counts = assessment.counts
    assert (found["damagenet:damaged"], found["damagenet:not_judged"]) == (
        counts.damaged,
        sum(counts.not_judged.values()),
    )
    assert found["proj:code"] == "EPSG:32615"


def _model(found):
    return found["damagenet:model"]


def test_an_item_names_the_files_that_are_there_and_no_others(assessment):
    assets = make_item(assessment, "run").assets
    assert set(assets) == {"gpkg", "csv", "cog", "style", "summary"}
    assert assets["cog"].media_type == pystac.MediaType.COG
    assert set(ASSETS) > set(assets)


@pytest.mark.parametrize(
    ("acquired", "expected"),
    [
        ("2017-08-31T17:38:50+02:00", ("2017-08-31T15:38:50Z", None, None)),
        ("2017-08-31T17:38", ("2017-08-31T17:38:00Z", None, None)),
        ("2017-08-31", (None, "2017-08-31T00:00:00Z", "2017-08-31T23:59:59Z")),
        ("", (None, "1970-01-01T00:00:00Z", "2026-01-02T03:04:05Z")),
    ],
)
def test_times_are_moments_days_or_before_the_assessment(assessment, acquired, expected):
    made = with_scene(assessment, acquired=acquired).model_copy(
        update={"created": "2026-01-02T03:04:05+00:00"}
    )
    write_catalog(made.folder.parent, [made.stem], [made])
    found = check_core(made.folder / "item.json")["properties"]
    names = ("datetime", "start_datetime", "end_datetime")
    assert tuple(found.get(name) for name in names) == expected
    extent = check_core(made.folder.parent / "collection.json")["extent"]
    (interval,) = extent["temporal"]["interval"]
    first = expected[0] or expected[1]
    assert interval == [first if acquired else None, expected[0] or expected[2]]


def test_an_item_of_several_days_keeps_them(assessment):
    source = SourceItem(
        id="mosaic",
        href="https://h.org/1",
        acquired="",
        start="2017-08-30T00:00:00+00:00",
        end="2017-09-02T00:00:00+00:00",
    )
    made = make_item(with_scene(assessment, acquired="", item=source), "run")
    assert made.common_metadata.start_datetime == dt.datetime(2017, 8, 30, tzinfo=dt.UTC)
    assert made.datetime is None


def test_a_scene_without_crs_has_no_place(tmp_path):
    made = make_assessment(tmp_path / "out", scene_crs=None)
    write_catalog(tmp_path / "out", [made.stem], [made])
    values = check_core(made.folder / "item.json")
    check_extensions(values)
    assert values["geometry"] is None
    assert "bbox" not in values
    check_core(tmp_path / "out" / "collection.json")


def scene_at(crs: str, west: float, north: float, pixel: float) -> SceneInfo:
    return SceneInfo(
        path=Path("/a.tif"),
        sha256="0",
        width=100,
        height=50,
        transform=(pixel, 0, west, 0, -pixel, north),
        crs=crs,
        pixel_m=(1, 1),
        acquired="",
        bands=(1, 2, 3),
    )


def test_the_outline_is_counterclockwise_and_holds_the_corners():
    geometry, bbox = footprint(scene_at("EPSG:32615", EAST, NORTH, SIZE_PX))
    polygon = shapely.geometry.shape(geometry)
    assert polygon.exterior.is_ccw
    assert len(polygon.exterior.coords) > 12
    lon, lat = Transformer.from_crs(32615, 4326, always_xy=True).transform(EAST, NORTH)
    assert polygon.distance(shapely.Point(lon, lat)) < 1e-6
    assert bbox == pytest.approx(polygon.bounds)


def test_a_scene_across_the_antimeridian_is_two_polygons():
    geometry, bbox = footprint(scene_at("EPSG:32660", 830_000, 0, 100))
    west, _, east, _ = bbox
    assert (west > 0, east < 0) == (True, True)
    halves = shapely.geometry.shape(geometry)
    assert len(halves.geoms) == 2
    assert all(half.exterior.is_ccw for half in halves.geoms)
    assert halves.bounds[0] == pytest.approx(-180)
    assert halves.bounds[2] == pytest.approx(180)
