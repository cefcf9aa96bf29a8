"""Addresses: which are understood, which are allowed, and what is never shown of them."""

import pickle
from pathlib import Path

import pytest

from damagenet.addresses import (
    command_line,
    is_allowed,
    parse_address,
    remote_path,
    without_queries,
)
from damagenet.assessment import SceneInfo
from damagenet.config import make_settings
from damagenet.engine.scene_list import find_scenes, folder_names
from damagenet.errors import ConfigError
from damagenet.options import AssessOptions

SIGNED = "https://Example.org:443/harvey/a.tif?sig=SECRET//x"


def allowed(address: str, *prefixes: str) -> bool:
    return is_allowed(parse_address(address), prefixes)


def test_an_address_is_a_path_that_shows_no_query_and_keeps_it():
    path = remote_path(SIGNED)
    assert (str(path), path.name, path.stem) == ("https://example.org/harvey/a.tif", "a.tif", "a")
    assert path.secret == "https://example.org/harvey/a.tif?sig=SECRET//x"
    assert "SECRET" not in f"{path} {path!r} {path.as_posix()} {path.resolve()} {path.absolute()}"
    assert [path.exists(), path.is_file(), path.is_dir()] == [False] * 3
    sent = pickle.loads(pickle.dumps(path))
    assert sent == path
    assert sent.secret == path.secret


def test_an_address_comes_back_from_json_without_its_query():
    values = {
        "path": remote_path(SIGNED),
        "sha256": "0",
        "width": 1,
        "height": 1,
        "transform": (1, 0, 0, 0, -1, 0),
        "crs": None,
        "pixel_m": (1, 1),
        "acquired": "",
        "bands": (1, 2, 3),
    }
    text = SceneInfo(**values).model_dump_json()
    assert "SECRET" not in text
    again = SceneInfo.model_validate_json(text).path
    assert str(again) == "https://example.org/harvey/a.tif"
    assert again == remote_path(SIGNED).resolve()


@pytest.mark.parametrize(
    ("address", "prefix", "yes"),
    [
        ("https://example.org/harvey/a.tif", "https://example.org/harvey/", True),
        ("https://example.org/harvey/a.tif", "https://example.org/harvey", True),
        ("https://example.org/harvey/a.tif", "https://example.org:443", True),
        ("https://example.org/harvey/a.tif", "HTTPS://EXAMPLE.ORG/harvey/a.tif", True),
        ("https://example.org/harvey2/a.tif", "https://example.org/harvey", False),
        ("https://example.org/Harvey/a.tif", "https://example.org/harvey", False),
        ("https://example.org.evil.net/harvey/a.tif", "https://example.org/", False),
        ("https://sub.example.org/a.tif", "https://example.org/", False),
        ("https://example.org./a.tif", "https://example.org/", False),
        ("http://example.org/harvey/a.tif", "https://example.org/", False),
        ("https://example.org:8443/harvey/a.tif", "https://example.org/", False),
        ("s3://bucket/a.tif", "s3://bucket", True),
        ("s3://bucket2/a.tif", "s3://bucket", False),
        ("gs://bucket/a.tif", "s3://bucket", False),
    ],
)
def test_the_list_compares_kind_host_port_and_whole_steps(address, prefix, yes):
    assert allowed(address, "https://other.org/", prefix) is yes


def test_an_empty_list_allows_nothing():
    assert not allowed("https://example.org/a.tif")


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://me:SECRET@example.org/a.tif", "holds a user name"),
        ("https://example.org/harvey/../a.tif", "a step of dots"),
        ("https://example.org/harvey/%2E%2e/a.tif", "a step of dots"),
        ("https://example.org/harvey/%2e%2e%2fa.tif", "an encoded slash"),
        ("https://example.org/harvey/%252e/a.tif", "an encoded slash, backslash or percent"),
        ("https://example.org/harvey//a.tif", "an empty step"),
        ("https://example.org\\@evil.net/a.tif", "a user name"),
        ("https://example.org/a b.tif", "a space"),
        ("https://example.org/a.tif#x", "a #"),
        ("https:///a.tif", "names no host"),
        ("https://example.org:99999/a.tif", "check host and port"),
        ("s3://bucket:80/a.tif", "names no host or bucket"),
        ("s3://bucket/a.tif?versionId=SECRET", "has a query"),
        ("ftp://example.org/a.tif?SECRET", "begin with one of https, http, s3, gs, az"),
        ("file:///etc/a.tif", "begin with one of"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_without_its_secrets(address, fault):
    with pytest.raises(ConfigError, match=fault) as caught:
        find_scenes([address])
    assert "SECRET" not in str(caught.value)


def test_secrets_are_cut_out_of_any_text():
    text = "damagenet assess 'https://a.org/x.tif?sig=A/B&c=d' s3:/b/k?X-Amz-Signature=A -o out?"
    assert without_queries(text) == "damagenet assess 'https://a.org/x.tif' s3:/b/k -o out?"
    assert without_queries("GET https://me:pw@a.org/x failed") == "GET https://a.org/x failed"


def test_a_command_shows_no_secret_whatever_stands_around_it():
    words = ["damagenet", "assess", "https://a.org/o'brien.tif?sig=SECRET", "--out", "o'k"]
    assert (
        command_line(words)
        == """damagenet assess 'https://a.org/o'"'"'brien.tif' --out 'o'"'"'k'"""
    )


@pytest.mark.parametrize("letter", list("'\"()"))
@pytest.mark.parametrize("place", ["https://a.org/x{}.tif", "https://a.org/x.tif?a={}&sig=SECRET"])
def test_what_seems_to_end_an_address_is_written_in_percents(letter, place):
    with pytest.raises(ConfigError, match="holds a quote or a bracket") as caught:
        find_scenes([place.format(letter)])
    assert "SECRET" not in str(caught.value)


def test_an_address_of_numbers_keeps_its_brackets():
    assert str(remote_path("http://[::1]:8000/x.tif")) == "http://[::1]:8000/x.tif"


def test_the_same_address_with_two_queries_is_refused():
    named = ["https://a.org/get.tif?id=1", "https://a.org/get.tif?id=2"]
    with pytest.raises(ConfigError, match="is named twice, with different queries"):
        find_scenes(named)
    assert len(find_scenes(named[:1] * 2)) == 1


def test_addresses_and_files_of_one_name_get_folders_of_their_own(tmp_path):
    (tmp_path / "a.tif").touch()
    scenes = find_scenes([str(tmp_path / "a.tif"), "https://h.org/x/a.tif", "s3://b/x/a.tif"])
    names = folder_names(scenes)
    assert [name for name in names.values() if "://" in name or ":" in name] == []
    assert [names[scene] for scene in scenes[1:]] == ["https__h.org__x__a", "s3__b__x__a"]


def test_a_known_address_keeps_its_folder(tmp_path):
    known = {Path("https:/h.org/x/a.tif"): "before"}
    assert folder_names([remote_path("https://h.org/x/a.tif?sig=new")], known) == {
        remote_path("https://h.org/x/a.tif"): "before"
    }


def test_the_list_is_an_option_in_its_normal_form():
    options = make_settings(AssessOptions, {"allow_url": "HTTPS://A.org/x,s3://bucket/"})
    assert options.allow_url == ("https://a.org/x", "s3://bucket/")
    with pytest.raises(ConfigError, match=r"allow_url: https://a.org/x: an address on the list"):
        make_settings(AssessOptions, {"allow_url": "https://a.org/x?sig=SECRET"})


@pytest.mark.parametrize("name", ["buildings", "exclude", "pre"])
def test_only_scenes_are_read_from_addresses(name):
    with pytest.raises(ConfigError, match=rf"{name}: only scenes are read from addr") as caught:
        make_settings(AssessOptions, {name: "https://a.org/x.gpkg?sig=SECRET"})
    assert "SECRET" not in str(caught.value)
