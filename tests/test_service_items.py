"""Units of finished jobs as OGC API Features items."""

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from fastapi.testclient import TestClient
from finished_jobs import GREEN, RED, add_job, assessed, flat_scene, served_on, tiny_bundle
from tiny_run import EAST, make_buildings, make_scene, pixel_box

from api.app import create_app
from api.feature_query import FeatureQuery, overlaps, read_interval
from api.features import FeatureCache, Features
from api.settings import ServiceSettings
from damagenet.labels import Label


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
    """Forty buildings on a scene, and one outside of it."""
    folder = tmp_path_factory.mktemp("scenes")
    scene = make_scene(folder / "scene.tif", columns=8, rows=5, acquired="2017:08:31 17:00:00")
    shapes = [pixel_box(32 * n + 8, 32 * m + 8, 14, 10) for m in range(5) for n in range(8)]
    buildings = make_buildings(folder / "b.gpkg", [*shapes, pixel_box(900, 900, 9, 9)])
    return add_job(
        app.state.service,
        lambda root: assessed(root, bundle, [scene], buildings=buildings)[1],
    )


@pytest.fixture(scope="module")
def frame(app, job):
    """The same units as their file has them."""
    return gpd.read_file(app.state.service.folders.job(job).results / "damage.geojson")


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["features"]]


def test_pages_hold_every_unit_once_in_the_order_of_the_file(client, job, frame):
    found, address = [], f"/v1/assessments/{job}/items?limit=15"
    while address:
        page = client.get(address).json()
        assert page["numberMatched"] == len(frame) == 41
        assert page["numberReturned"] == len(page["features"]) <= 15
        found += [one["id"] for one in page["features"]]
        links = {link["rel"]: link["href"] for link in page["links"]}
        assert ("prev" in links) == (len(found) > 15)
        address = links.get("next")
    assert found == frame["unit_id"].tolist()


def test_an_item_says_what_the_file_says(client, job):
    path = f"/v1/assessments/{job}"
    items = client.get(f"{path}/items?limit=1000").json()["features"]
    told = client.get(f"{path}/results/damage.geojson").json()["features"]
    alone = client.get(f"{path}/items/b7").json()
    assert [one | {"id": None} for one in items] == [one | {"id": None} for one in told]
    assert {key: alone[key] for key in items[7]} == items[7]
    assert {link["rel"] for link in alone["links"]} == {"self", "collection"}
    assert client.get(f"{path}/items/b999").status_code == 404


def test_a_box_finds_what_touches_it(client, job, frame):
    rng = np.random.default_rng(1)
    west, south, east, north = frame.total_bounds
    for _ in range(10):
        (left, right), (low, high) = (
            np.sort(rng.uniform(a, b, 2)) for a, b in ((west, east), (south, north))
        )
        box = shapely.box(left, low, right, high)
        wanted = frame.loc[frame.intersects(box), "unit_id"].tolist()
        answer = client.get(
            f"/v1/assessments/{job}/items?limit=1000&bbox={left},{low},{right},{high}"
        )
        assert ids(answer) == wanted


def test_filters_for_label_probability_and_date_hold_together(client, job, frame):
    p = frame["p_damaged"].median()
    path = f"/v1/assessments/{job}/items?limit=1000"
    assert (
        ids(client.get(f"{path}&min_p={p}"))
        == frame.loc[frame["p_damaged"] >= p, "unit_id"].tolist()
    )
    both = frame["label"].isin(["damaged", "not-judged"])
    assert (
        ids(client.get(f"{path}&label=damaged,not-judged")) == frame.loc[both, "unit_id"].tolist()
    )
    # The unit outside of all scenes has no date, so none speaks against it.
    assert ids(client.get(f"{path}&datetime=2018-01-01/..")) == ["b40"]
    assert len(ids(client.get(f"{path}&datetime=2017-08-31"))) == 41
    assert ids(client.get(f"{path}&datetime=2018-01-01/..&label=damaged")) == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("offset=-1", "offset"),
        ("bbox=1,2,3", "bbox"),
        ("bbox=1,2,nan,4", "bbox"),
        ("bbox=0,5,1,4", "bbox"),
        ("label=flooded", "label 'flooded'"),
        ("min_p=2", "min_p"),
        ("datetime=yesterday", "datetime"),
        ("datetime=../..", "datetime"),
        ("datetime=2018-01-01/2017-01-01", "datetime"),
        ("colour=red", "parameter 'colour'"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_name(client, job, asked, told):
    for path in (f"/v1/assessments/{job}/items", f"/collections/{job}/items"):
        answer = client.get(f"{path}?{asked}")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert told in answer.json()["detail"]


def test_a_larger_limit_than_there_is_counts_as_the_largest(client, job):
    assert len(ids(client.get(f"/v1/assessments/{job}/items?limit=1000000"))) == 41


def test_all_units_come_at_once_and_are_not_sent_again(client, job, frame):
    first = client.get(f"/v1/assessments/{job}/units.geojson")
    assert [one["id"] for one in first.json()["features"]] == frame["unit_id"].tolist()
    tag = first.headers["etag"]
    for tags in (tag, f'"other", W/{tag}', "*"):
        again = client.get(f"/v1/assessments/{job}/units.geojson", headers={"If-None-Match": tags})
        assert (again.status_code, again.content) == (304, b"")


def test_cells_of_several_scenes_are_found_by_ids_with_slashes(app, client, bundle, tmp_path):
    scenes = [
        flat_scene(tmp_path / "a.tif", RED),
        flat_scene(tmp_path / "b.tif", GREEN, east=EAST + 500),
    ]
    job = add_job(app.state.service, lambda root: assessed(root, bundle, scenes)[1])
    unit = ids(client.get(f"/collections/{job}/items?limit=1000"))[-1]
    assert unit.startswith("b/")
    assert client.get(f"/collections/{job}/items/{unit}").json()["id"] == unit
    assert client.get(f"/v1/assessments/{job}/chips/{unit}.png").status_code == 200


def test_scenes_without_georeference_lie_beside_each_other(app, client, bundle, tmp_path):
    scenes = [flat_scene(tmp_path / f"{name}.tif", RED, crs=None, transform=None) for name in "ab"]
    job = add_job(app.state.service, lambda root: assessed(root, bundle, scenes, pixel_size=1.0)[1])
    units = client.get(f"/v1/assessments/{job}/units.geojson").json()["features"]
    shapes = [shapely.geometry.shape(one["geometry"]) for one in units]
    assert shapely.area(shapely.union_all(shapes)) == pytest.approx(sum(map(shapely.area, shapes)))
    assert {one["id"].split("/")[0] for one in units} == {"a", "b"}
    assert "made up" in client.get(f"/collections/{job}").json()["description"]


def made_features(boxes: list[tuple[float, float, float, float]]) -> Features:
    shapes = shapely.multipolygons([[shapely.box(*box)] for box in boxes])
    table = pa.Table.from_pandas(
        pd.DataFrame({"unit_id": [str(n) for n in range(len(boxes))], "acquired": ""})
    )
    return Features(table=table, wkb=shapely.to_wkb(shapes), bounds=shapely.bounds(shapes))


def test_a_box_may_reach_across_the_antimeridian():
    features = made_features([(179, 0, 179.5, 1), (-179.5, 0, -179, 1), (0, 0, 1, 1)])
    assert features.find(FeatureQuery(bbox=(170, -5, -170, 5))).tolist() == [0, 1]
    assert features.find(FeatureQuery(bbox=(-170, -5, 170, 5))).tolist() == [2]


def test_a_unit_without_a_place_is_in_no_box():
    features = made_features([(0, 0, 1, 1)])
    lost = Features(
        table=features.table,
        wkb=np.array([None], object),
        bounds=np.full((1, 4), np.nan),
    )
    assert lost.find(FeatureQuery(bbox=(-180, -90, 180, 90))).tolist() == []
    assert json.loads(next(lost.texts(np.array([0]))))["geometry"] is None


def test_a_date_counts_for_all_of_its_day():
    day = read_interval("2017-08-31T23:00:00Z/2017-09-02")
    assert overlaps("2017-08-31", day)
    assert not overlaps("2017-08-31T22:00:00+00:00", day)
    assert overlaps("2017-09-02T23:59:00+00:00", day)
    assert overlaps("", day)


def test_few_jobs_are_kept_in_memory(app, job, monkeypatch):
    monkeypatch.setattr("api.features.KEPT_JOBS", 2)
    service, cache = app.state.service, FeatureCache()
    shown = service.atlas.find(service.folders.job(job))
    first = cache.get(shown.folder, shown.index, 1)
    assert cache.get(shown.folder, shown.index, 1) is first
    for version in (2, 3):
        cache.get(shown.folder, shown.index, version)
    assert cache.get(shown.folder, shown.index, 1) is not first


READ_OAPIF = """
import json, sys, pyogrio
address, layer = sys.argv[1:]
if "OAPIF" not in pyogrio.list_drivers():
    sys.exit(77)
frame = pyogrio.read_dataframe(f"OAPIF:{address}/", layer=layer)
corner = tuple(frame.total_bounds[:2]) * 2
few = pyogrio.read_dataframe(f"OAPIF:{address}/", layer=layer, bbox=corner)
print(json.dumps({"ids": frame["unit_id"].tolist(), "crs": str(frame.crs),
                  "kinds": sorted(set(frame.geom_type)), "few": few["unit_id"].tolist()}))
"""


def test_gdal_reads_a_collection_by_ogc_api_features(app, job, frame):
    with served_on(app) as address:
        # In a process of its own: a service takes the driver away.
        run = subprocess.run(
            [sys.executable, "-c", READ_OAPIF, address, job],
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode == 77:
        pytest.skip("this GDAL has no driver for OGC API Features")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["ids"] == frame["unit_id"].tolist()
    assert (told["crs"], told["kinds"]) == ("EPSG:4326", ["MultiPolygon"])
    assert len(told["few"]) < 3
    assert {label.value for label in Label} >= set(frame["label"])
