"""The published tiles, prepared: what is kept, what is refused, and what an interruption leaves."""

import hashlib
import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from published_tiles import add_tile, jpeg, make_published, make_tar, open_prepared
from typer.testing import CliRunner

from damagenet.cli.data import app
from damagenet.errors import DataError, OutputError
from data_prep import preparation
from data_prep.acquisitions import read_acquisitions
from data_prep.harvey import COLUMNS, HarveyTiles
from data_prep.preparation import prepare
from data_prep.tile import HALF_TILE_DEGREES, PIXEL_DEGREES, REGIONS, region_of, world_pixel


@pytest.fixture
def published(tmp_path):
    return make_published(tmp_path / "published")


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_manifest_tells_where_each_tile_lies_and_pixels_are_those_of_the_jpeg(tmp_path, published):
    tiles = open_prepared(published, tmp_path / "made")
    assert tuple(tiles.manifest.columns) == COLUMNS
    assert len(tiles) == len(tiles.pixels) == 32
    for number, row in tiles.manifest.iterrows():
        file = published / row["path"]
        assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert row["bytes"] == file.stat().st_size
        assert row["label"] == int(file.parent.name == "damage")
        assert row["published_split"] == file.parent.parent.name
        with Image.open(file) as image:
            np.testing.assert_array_equal(tiles.pixels[number], np.asarray(image))
    assert set(tiles.manifest["region"]) == {"victoria", "houston-west"}
    assert set(tiles.manifest["duplicate_of"]) == {""}
    assert tiles.labels.sum() == 16


def test_a_tar_in_any_order_and_compression_gives_what_the_folder_gives(tmp_path, published):
    whole = open_prepared(published, tmp_path / "made")
    for mode, suffix in (("w", "tar"), ("w:gz", "tgz")):
        tar = make_tar(published, tmp_path / f"tiles.{suffix}", mode=mode)
        packed = open_prepared(tar, tmp_path / suffix)
        pd.testing.assert_frame_equal(packed.manifest, whole.manifest)
        np.testing.assert_array_equal(packed.pixels, whole.pixels)


def test_bad_files_are_listed_with_a_reason_and_counted(tmp_path, published):
    good = jpeg(1000)
    folder = published / "train_another" / "damage"
    bad = {
        "screenshot 12.jpeg": (good, "the name is not <longitude>_<latitude>.jpeg"),
        "-195.0_29.8.jpeg": (good, "out of range"),
        "29.8_-95.5.jpeg": (good, "out of range"),
        "-80.0_29.8.jpeg": (good, "in no region of the Harvey data"),
        "-95.1_29.1.jpeg": (jpeg(1, size=(64, 128)), "64x128 pixels instead of 128x128"),
        "-95.1_29.2.jpeg": (jpeg(1, mode="L"), "colour mode L instead of RGB"),
        "-95.1_29.3.jpeg": (good[: len(good) // 2], "a broken JPEG"),
        "-95.1_29.4.jpeg": (b"no picture", "not a JPEG image"),
        "-95.1_29.5.jpeg": (b"", "not a JPEG image"),
        "-95.1_29.6.jpeg": (good + bytes(1_000_001), "far too large for a tile"),
    }
    for name, (content, _) in bad.items():
        (folder / name).write_bytes(content)
    (published / "test" / ".DS_Store").write_bytes(b"x")
    report = prepare(published, tmp_path / "made", quiet=True)
    rejected = pd.read_csv(tmp_path / "made" / "rejected.csv").set_index("path")["reason"]
    assert (report.tiles, report.rejected) == (32, 11) == (32, len(rejected))
    for name, (_, reason) in bad.items():
        assert reason in rejected[f"train_another/damage/{name}"]
    assert "not in a class folder" in rejected["test/.DS_Store"]
    assert len(HarveyTiles.open(tmp_path / "made")) == 32


def test_a_comma_between_the_coordinates_is_understood(tmp_path, published):
    (published / "test" / "damage" / "-95.1,29.1.jpeg").write_bytes(jpeg(1000))
    manifest = open_prepared(published, tmp_path / "made").manifest
    assert manifest.set_index("path").loc["test/damage/-95.1,29.1.jpeg", "lon"] == -95.1


def test_a_byte_copy_names_the_first_tile_in_the_order_of_the_splits(tmp_path, published):
    content = jpeg(1000)
    add_tile(published, "test/damage", -95.1, 29.1, content)
    add_tile(published, "test_another/damage", -95.1, 29.1, content)
    first = add_tile(published, "validation_another/damage", -95.1, 29.1, content)
    report = prepare(published, tmp_path / "made", quiet=True)
    manifest = HarveyTiles.open(tmp_path / "made").manifest
    copies = manifest[manifest["duplicate_of"] != ""]
    assert report.byte_copies == 2
    assert set(copies["published_split"]) == {"test", "test_another"}
    assert set(copies["duplicate_of"]) == {f"validation_another/damage/{first.name}"}


@pytest.mark.parametrize("absent", ["test/no_damage", "train_another/damage"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_missing_or_empty_class_folder_is_refused(tmp_path, published, absent, how):
    shutil.rmtree(published / absent)
    if how == "empty":
        (published / absent).mkdir()
    with pytest.raises(DataError, match=f"has no tiles in {absent}: it must hold"):
        prepare(published, tmp_path / "made", quiet=True)
    assert not (tmp_path / "made").exists()


def test_sources_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist: give the folder"):
        prepare(tmp_path / "nowhere", tmp_path / "made", quiet=True)
    (tmp_path / "tiles.tar").write_bytes(b"no tar at all")
    with pytest.raises(DataError, match="is not a readable tar file"):
        prepare(tmp_path / "tiles.tar", tmp_path / "made", quiet=True)


def test_acquisitions_beside_the_source_are_joined_by_rounded_coordinates(tmp_path, published):
    (tmp_path / "harvey_acquisitions.csv").write_text(
        "lon,lat,post_catalog_id,pre_catalog_id,label\n"
        "-95.1000041,29.0999959,PASS-1,PASS-1,Trash Heap\n"
    )
    add_tile(published, "test/damage", -95.1, 29.1, jpeg(1000))
    report = prepare(published, tmp_path / "made", quiet=True)
    manifest = HarveyTiles.open(tmp_path / "made").manifest
    assert report.with_acquisition == 1
    assert manifest.loc[manifest["acquisition"] == "PASS-1", "lon"].tolist() == [-95.1]
    assert (manifest["acquisition"] == "").sum() == 32


@pytest.mark.parametrize("text", ["lon,lat\n1,2\n", "lon,lat,post_catalog_id\nwest,2,A\n"])
def test_a_table_that_is_none_of_acquisitions_is_refused(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="needs the columns lon, lat and post_catalog_id"):
        read_acquisitions(path)
    with pytest.raises(DataError, match="cannot read the acquisitions"):
        read_acquisitions(tmp_path / "absent.csv")


def test_a_second_run_does_nothing(tmp_path, published, monkeypatch):
    first = prepare(published, tmp_path / "made", quiet=True)
    before = contents(tmp_path / "made")
    monkeypatch.setattr(preparation, "decode_tile", None)  # any decoding would fail
    assert prepare(published, tmp_path / "made", quiet=True) == first
    assert contents(tmp_path / "made") == before


def test_a_folder_made_from_other_files_is_refused(tmp_path, published):
    prepare(published, tmp_path / "made", quiet=True)
    add_tile(published, "test/damage", -95.1, 29.1, jpeg(1000))
    with pytest.raises(DataError, match="was prepared from other files: delete it or choose"):
        prepare(published, tmp_path / "made", quiet=True)


def test_a_second_run_into_the_same_folder_at_once_is_refused(tmp_path, published, monkeypatch):
    made, decode = tmp_path / "made", preparation.decode_tile

    def start_another(data):
        with pytest.raises(OutputError, match="made is being prepared by another run: wait"):
            prepare(published, made, quiet=True)
        return decode(data)

    monkeypatch.setattr(preparation, "decode_tile", start_another)
    assert prepare(published, made, quiet=True).tiles == 32


@pytest.mark.parametrize("interrupted_at", [1, 7, 13, 32])
def test_an_interrupted_run_continues_and_ends_in_the_same_bytes(
    tmp_path, published, monkeypatch, interrupted_at
):
    monkeypatch.setattr(preparation, "FILES_PER_STEP", 5)
    (published / "train_another" / "damage" / "note.txt").write_text("no tile")
    prepare(published, tmp_path / "whole", quiet=True)
    decode, calls = preparation.decode_tile, []

    def decode_until_interrupted(data):
        calls.append(data)
        if len(calls) == interrupted_at:
            raise KeyboardInterrupt
        return decode(data)

    monkeypatch.setattr(preparation, "decode_tile", decode_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(published, tmp_path / "made", quiet=True)
    with pytest.raises(DataError, match="is no prepared data set"):
        HarveyTiles.open(tmp_path / "made")
    calls.clear()
    monkeypatch.setattr(preparation, "decode_tile", lambda data: calls.append(data) or decode(data))
    prepare(published, tmp_path / "made", quiet=True)
    assert contents(tmp_path / "made") == contents(tmp_path / "whole")
    assert len(calls) <= 32 - interrupted_at + 5  # only the unfinished step was repeated


def test_a_run_interrupted_at_the_last_rename_starts_over(tmp_path, published, monkeypatch):
    prepare(published, tmp_path / "whole", quiet=True)
    monkeypatch.setattr(pd.DataFrame, "to_csv", None)  # the next thing after the pixels moved
    with pytest.raises(TypeError):
        prepare(published, tmp_path / "made", quiet=True)
    monkeypatch.undo()
    prepare(published, tmp_path / "made", quiet=True)
    assert contents(tmp_path / "made") == contents(tmp_path / "whole")


def test_unfinished_work_on_other_files_is_thrown_away(tmp_path, published):
    work = tmp_path / "made" / "unfinished"
    work.mkdir(parents=True)
    (work / "source").write_text("another fingerprint")
    (work / "step-00000.parquet").write_bytes(b"rubbish")
    assert prepare(published, tmp_path / "made", quiet=True).tiles == 32


def test_a_damaged_folder_is_refused(tmp_path, published):
    made = tmp_path / "made"
    tiles = open_prepared(published, made)
    np.save(made / "pixels.npy", np.zeros((3, 128, 128, 3), np.uint8))
    with pytest.raises(DataError, match=r"the manifest needs uint8 \(32, 128, 128, 3\)"):
        HarveyTiles.open(made)
    tiles.manifest.drop(columns="region").to_parquet(made / "manifest.parquet")
    with pytest.raises(DataError, match="lacks region: prepare it again"):
        HarveyTiles.open(made)
    (made / "manifest.parquet").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="is damaged, prepare it again"):
        HarveyTiles.open(made)
    (made / "prepared.json").write_text(json.dumps({"tiles": 3}))
    with pytest.raises(DataError, match="cannot be understood, prepare the data again"):
        HarveyTiles.open(made)


def test_tiles_travel_to_another_process_as_a_path(tmp_path, published):
    tiles = open_prepared(published, tmp_path / "made")
    sent = pickle.dumps(tiles)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).pixels, tiles.pixels)


@given(lon=st.floats(-97.5, -93), lat=st.floats(28, 31.5))
def test_the_world_pixel_lies_at_the_tiles_upper_left_corner(lon, lat):
    column, row = world_pixel(lon, lat)
    assert abs(column * PIXEL_DEGREES - 180 - (lon - HALF_TILE_DEGREES)) < 1.01 * PIXEL_DEGREES
    assert abs(90 - row * PIXEL_DEGREES - (lat + HALF_TILE_DEGREES)) < 1.01 * PIXEL_DEGREES
    assert region_of(lon, lat) in REGIONS


@pytest.mark.parametrize(
    ("lon", "lat", "region"),
    [
        (-96.001, 28.8, "victoria"),
        (-96.0, 29.69, "houston-south"),
        (-95.25, 29.7, "houston-west"),
        (-95.2499, 29.7, "houston-east"),
        (-94.7, 29.7, "houston-east"),
        (-94.6999, 30.1, "beaumont"),
    ],
)
def test_regions_follow_their_limits(lon, lat, region):
    assert region_of(lon, lat) == region


def test_the_command_says_what_was_kept_and_shows_progress_on_stderr(tmp_path, published):
    (published / "test" / ".DS_Store").write_bytes(b"x")
    result = CliRunner().invoke(app, ["prepare", str(published), str(tmp_path / "made")])
    assert result.exit_code == 0, result.output
    assert "32 tiles, 0 of them byte copies" in result.stdout
    assert "1 files rejected (rejected.csv)" in result.stdout
    assert "checking tiles" in result.stderr
    assert "checking tiles" not in result.stdout
    assert "without satellite passes nothing can be learned from or held out" in result.stderr
