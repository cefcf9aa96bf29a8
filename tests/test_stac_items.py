"""STAC Items as input: which asset is the scene, where it lies, and what is refused."""

import json

import pytest

from damagenet.engine.scene_list import find_scenes, find_with_items, folder_names
from damagenet.errors import ConfigError

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(name="pass-1", *, assets=None, properties=None, **fields):
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2017-08-31T17:38:00Z"} | (properties or {}),
        "links": [],
        "assets": assets or {"visual": {"href": "./a.tif", "type": TIFF}},
    } | fields


def picture(href, *roles, kind=TIFF):
    return {"href": href, "type": kind, "roles": list(roles)}


@pytest.fixture
def written(tmp_path):
    def write(*items, name="items.json", **collection):
        path = tmp_path / name
        values = {"type": "FeatureCollection", "features": list(items)} | collection
        path.write_text(json.dumps(values))
        return str(path)

    return write


def refusal(named, asset=None):
    with pytest.raises(ConfigError) as caught:
        find_scenes([named], asset)
    return str(caught.value)


def test_relative_places_count_from_the_file_and_addresses_stay(written, tmp_path):
    (tmp_path / "b c.tif").touch()
    found = find_with_items(
        [
            written(
                item("one"),
                item("two", assets={"data": picture("b%20c.tif", "data")}),
                item("three", assets={"data": picture((tmp_path / "x.tif").as_uri())}),
                item("four", assets={"data": picture("https://h.org/a/v.tif?sig=SECRET")}),
            )
        ]
    )
    expected = [tmp_path / "a.tif", tmp_path / "b c.tif", tmp_path / "x.tif"]
    assert [*found][:3] == expected
    remote = [*found][3]
    assert (str(remote), remote.query) == ("https://h.org/a/v.tif", "sig=SECRET")
    assert [one.id for one in found.values()] == ["one", "two", "three", "four"]


def test_a_single_item_and_a_list_that_names_items_are_read(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(item("one")))
    (tmp_path / "scenes.txt").write_text("one.json\n")
    for named in ("one.json", "scenes.txt"):
        assert find_scenes([str(tmp_path / named)]) == [tmp_path / "a.tif"]


@pytest.mark.parametrize(
    ("properties", "acquired", "start"),
    [
        ({}, "2017-08-31T17:38:00+00:00", ""),
        (
            {
                "datetime": None,
                "start_datetime": "2017-08-31T01:00:00Z",
                "end_datetime": "2017-08-31T02:00:00Z",
            },
            "2017-08-31",
            "2017-08-31T01:00:00+00:00",
        ),
        (
            {
                "datetime": None,
                "start_datetime": "2017-08-30T00:00:00Z",
                "end_datetime": "2017-09-02T00:00:00Z",
            },
            "",
            "2017-08-30T00:00:00+00:00",
        ),
    ],
)
def test_the_time_of_an_item_is_the_time_of_acquisition(written, properties, acquired, start):
    (found,) = find_with_items([written(item(properties=properties))]).values()
    assert (found.acquired, found.start) == (acquired, start)


def test_an_items_own_address_is_kept_without_its_query(written):
    own = {"rel": "self", "href": "https://h.org/items/1?token=SECRET"}
    (found,) = find_with_items([written(item(links=[own]))]).values()
    assert found.href == "https://h.org/items/1"
    (other,) = find_with_items([written(item(), name="b.geojson")]).values()
    assert other.href.startswith("file:///")


@pytest.mark.parametrize(
    ("assets", "chosen"),
    [
        ({"scene": picture("a.tif")}, "a.tif"),
        ({"x": {"href": "a.TIF"}, "y": {"href": "a.xml"}}, "a.TIF"),
        ({"a": picture("a.tif", "data"), "t": picture("t.tif", "thumbnail")}, "a.tif"),
        ({"visual": picture("v.tif"), "B04": picture("b.tif", "data")}, "v.tif"),
        ({"rgb": picture("v.tif", "visual"), "B04": picture("b.tif", "data")}, "v.tif"),
        ({"rgb": picture("v.tif", "data"), "mask": picture("b.tif")}, "v.tif"),
    ],
)
def test_the_scene_is_the_geotiff_whose_name_or_role_says_so(written, tmp_path, assets, chosen):
    assert find_scenes([written(item(assets=assets))]) == [tmp_path / chosen]


def test_which_asset_is_asked_where_several_could_be(written, tmp_path):
    assets = {"B04": picture("r.tif", "data"), "B08": picture("n.tif", "data")}
    named = written(item(assets=assets))
    assert "has several GeoTIFFs: say which is the scene with --asset, one of B04, B08" in refusal(
        named
    )
    assert "has no asset 'B02': choose with --asset from B04, B08" in refusal(named, "B02")
    assert find_scenes([named], "B08") == [tmp_path / "n.tif"]


def test_an_item_without_a_picture_is_refused_by_its_id(written):
    named = written(item("empty", assets={"meta": {"href": "a.xml"}}))
    assert "STAC Item empty of" in refusal(named)
    assert "has no GeoTIFF among its assets: name one with --asset" in refusal(named)


def test_what_is_no_item_is_refused_with_what_it_is(written, tmp_path):
    point = {"type": "Feature", "geometry": None, "properties": {}}
    assert "a file of buildings goes with --buildings" in refusal(written(point))
    assert "a file of buildings goes with --buildings" in refusal(written(point, item()))
    assert "holds no Item" in refusal(written(stac_version="1.0.0"))
    broken = item(properties={"datetime": None})
    assert "item 2 of" in refusal(written(item(), broken))
    assert "is no STAC Item" in refusal(written(item(), broken))
    ours = item(properties={"damagenet:damaged": 3})
    assert "is an assessment of damagenet: name the scene itself" in refusal(written(ours))
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"type": "Collection", "stac_version": "1.0.0"}))
    assert "is a STAC Collection, whose links are not followed" in refusal(str(catalog))
    catalog.write_text('{"stac_version": ')
    assert "is not valid JSON" in refusal(str(catalog))


def test_an_address_of_an_item_is_checked_like_any_other(written):
    named = written(item("up", assets={"data": picture("https://h.org/a/../v.tif?sig=SECRET")}))
    message = refusal(named)
    assert "STAC Item up of" in message
    assert "holds a step of dots" in message
    assert "SECRET" not in message


def test_folders_are_named_by_id_whatever_it_holds(written):
    ids = ["../../etc", "a/b", "run.json", "same", "same", "x" * 300]
    items = [
        item(name, assets={"visual": picture(f"https://h.org/{number}/visual.tif")})
        for number, name in enumerate(ids)
    ]
    found = find_with_items([written(*items)])
    names = [*folder_names(list(found), items=found).values()]
    assert names[:2] == ["etc", "a_b"]
    assert len(set(names)) == len(ids)
    assert not [name for name in names if "/" in name or name in ("run.json", "", "..")]
    assert max(map(len, names)) <= 100
